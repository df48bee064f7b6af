/* eliminate_dead.c -- removes nodes that nothing reads, then initialisers that nothing reads.
 *
 * Nodes are looked at last to first, so that a chain goes in one round. Initialisers that are graph
 * inputs stay: a caller may give them.
 */
#include "passes/passes.h"

enum { NODES, INITS };

static bool is_dead(const pai_node *n, const int *readers)
{
	for (int i = 0; i < n->n_out; i++)
		if (n->out[i] && (n->out[i]->is_output || readers[n->out[i]->id]))
			return false;
	return true;
}

static pai_status forget_reads(void *payload, pai_graph *body)
{
	int *readers = payload;
	const pai_graph *outer = body->owner->graph;
	for (int i = 0; i < body->nodes.n; i++)
		for (int k = 0; k < body->nodes.at[i]->n_in; k++)
			if (body->nodes.at[i]->in[k] && body->nodes.at[i]->in[k]->graph == outer)
				readers[body->nodes.at[i]->in[k]->id]--;
	return PAI_OK;
}

static void forget_node(const pai_node *n, int *readers)
{
	for (int i = 0; i < n->n_in; i++)
		if (n->in[i] && n->in[i]->graph == n->graph)
			readers[n->in[i]->id]--;
	for (int k = 0; k < n->n_attrs; k++) /* deeper bodies: next round */
		if (n->attrs[k].type == PAI_ATTR_GRAPH && n->attrs[k].g)
			(void)forget_reads(readers, n->attrs[k].g);
}

static pai_status run(pai_pass_run *r, pai_patch *out, const pai_graph *g)
{
	int *readers = pai_arena_dup(r->scratch, r->uses->n, sizeof(int) * (size_t)g->values.n);
	for (int i = g->nodes.n - 1; i >= 0; i--) {
		pai_node *n = g->nodes.at[i];
		if (!is_dead(n, readers))
			continue;
		forget_node(n, readers);
		pai_patch_begin(out, n, "dead node");
		pai_patch_erase(out, n);
		pai_patch_count(out, &r->counts[NODES], 1);
	}
	for (int i = 0; i < g->inits.n; i++) {
		pai_value *v = g->inits.at[i];
		if (readers[v->id] || v->is_input || v->is_output)
			continue;
		pai_patch_begin(out, NULL, "dead initialiser");
		pai_patch_erase_init(out, v);
		pai_patch_count(out, &r->counts[INITS], 1);
	}
	return PAI_OK;
}

const pai_pass pai_pass_eliminate_dead = {
	.name = "eliminate-dead",
	.summary = "remove nodes and initialisers that nothing reads",
	.needs = PAI_USES,
	.exactness = PAI_EXACT,
	.stats = (const char *const[]){[NODES] = "nodes", [INITS] = "initialisers", NULL},
	.run = run,
};

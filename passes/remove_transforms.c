/* remove_transforms.c -- takes out every transform node: what it read is read directly again.
 *
 * The inverse of add-transforms, through any nesting in one call. Parameters keep the contents that
 * training gave them. With the functions, the import and the IR version gone as well, a model that
 * nothing else changed is written byte for byte as it was.
 */
#include "passes/passes.h"

enum { REMOVED };

static const pai_option options[] = {
	{.name = "select",
	 .type = PAI_OPT_STRING,
	 .def = "*",
	 .help = "transforms of these tensors"},
	{.name = NULL},
};

/* What stands before a chain of transforms that all go. */
static pai_value *source(const pai_node *n)
{
	pai_value *v = pai_node_in(n, 0);
	while (v && v->producer && v->producer->graph == n->graph && pai_transform_of(v->producer))
		v = pai_node_in(v->producer, 0);
	return v;
}

static pai_status run(pai_pass_run *r, pai_patch *out, const pai_graph *g)
{
	const char *select = pai_item_string(r->item, options, "select");
	for (int i = 0; i < g->nodes.n; i++) {
		pai_node *n = g->nodes.at[i];
		if (!pai_transform_of(n) || !pai_node_in(n, 0) ||
		    !pai_glob(select, source(n)->name))
			continue;
		pai_value *u = pai_node_in(n, 1);
		pai_patch_begin(out, n, "remove transform");
		pai_patch_replace(out, n->out[0], n->in[0]);
		pai_patch_erase(out, n);
		if (u && u->producer && u->producer->graph == g && !u->is_output &&
		    pai_node_is(u->producer, "RandomUniformLike") &&
		    pai_uses_count(r->uses, u) == 1)
			pai_patch_erase(out, u->producer);
		pai_patch_count(out, &r->counts[REMOVED], 1);
	}
	return PAI_OK;
}

static pai_status end(pai_pass_run *r, pai_model *m)
{
	if (r->counts[REMOVED])
		pai_transform_tidy(m);
	return PAI_OK;
}

const pai_pass pai_pass_remove_transforms = {
	.name = "remove-transforms",
	.summary = "take transforms out again; parameters are as training left them",
	.needs = PAI_USES,
	.exactness = PAI_CHANGES,
	.once = true,
	.options = options,
	.stats = (const char *const[]){[REMOVED] = "removed", NULL},
	.run = run,
	.end = end,
};

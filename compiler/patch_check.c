/* patch_check.c -- may a group of a patch be applied?
 *
 * A group is resolved and checked without touching the graph: stale when an earlier group took away
 * what it is about, or made it impossible; wrong when it breaks a rule by itself: types, names,
 * something erased that is still read, a cycle.
 *
 * Cycles take no search as a rule. Before a group, what every node reads stands before it; where
 * that holds for all that the group makes anybody read, it still does afterwards. Only where it
 * does not, a search back from those readers tells whether one of them would read itself.
 */
#include "compiler/patch.h"
#include <assert.h>
#include <limits.h>
#include <string.h>

pai_track *pai_track_of(const pai_apply *a, const pai_value *v)
{
	return v && v->graph == a->g && v->id >= 0 && v->id < a->tracks.n ? &a->tracks.at[v->id]
									  : NULL;
}

/* What took the place of a value of the graph; NULL: it is still itself. */
static pai_value *replacement_of(const pai_apply *a, const pai_value *v)
{
	const pai_track *t = pai_track_of(a, v);
	return t ? t->replacement : NULL;
}

pai_value *pai_patch_resolve(const pai_apply *a, pai_value *v)
{
	for (pai_value *next; v && (next = replacement_of(a, v));)
		v = next;
	return v;
}

void pai_walk_bodies(const pai_node *n, pai_status (*visit)(void *, pai_graph *), void *payload)
{
	for (int k = 0; k < n->n_attrs; k++) {
		const pai_attr *attr = &n->attrs[k];
		if (attr->type == PAI_ATTR_GRAPH && attr->g)
			(void)pai_graph_walk(attr->g, visit, payload);
		for (int64_t j = 0; attr->type == PAI_ATTR_GRAPHS && j < attr->list.n; j++)
			(void)pai_graph_walk(attr->list.g[j], visit, payload);
	}
}

/* Is the value there, or made by this group before it is needed? */
static bool available(const pai_value *v, const pai_group *group, int before)
{
	if (v->dead)
		return false;
	if (v->id >= 0)
		return true;
	for (int i = 0; i < before; i++) {
		const pai_edit *e = group->edits.at[i];
		if (e->kind == PAI_EDIT_INIT && e->value == v)
			return true;
		for (int k = 0; e->kind == PAI_EDIT_NODE && k < e->node->n_out; k++)
			if (e->node->out[k] == v)
				return true;
	}
	return false;
}

static bool imported_otherwise(const pai_apply *a, const pai_edit *e)
{
	const int64_t here = pai_graph_opset(a->g->model->graph, e->key);
	return here && here != (int64_t)e->by;
}

/* After other groups, a replacement may not be possible any more: of two outputs that are the same,
 * only one can go; and what was to become an output may have been an input all along. The next
 * round sees that. `first`: nothing was applied before. */
bool pai_patch_stale(const pai_apply *a, const pai_group *group, bool first)
{
	if (group->at && group->at->dead)
		return true;
	for (int i = 0; i < group->edits.n; i++) {
		const pai_edit *e = group->edits.at[i];
		assert(e->node || e->kind != PAI_EDIT_NODE);
		if (e->node && e->kind != PAI_EDIT_NODE && e->node->dead)
			return true;
		for (int k = 0; e->kind == PAI_EDIT_NODE && k < e->node->n_in; k++) {
			pai_value *v = pai_patch_resolve(a, e->node->in[k]);
			if (v && !available(v, group, i))
				return true;
		}
		if (e->kind == PAI_EDIT_IMPORT && imported_otherwise(a, e))
			return true;
		pai_value *now = e->now ? pai_patch_resolve(a, e->now) : NULL;
		if (now && !available(now, group, group->edits.n))
			return true;
		if (e->value && e->kind != PAI_EDIT_INIT && e->kind != PAI_EDIT_NAME &&
		    (e->value->dead || replacement_of(a, e->value)))
			return true;
		if (!first && e->kind == PAI_EDIT_REPLACE && !pai_can_replace(e->value, now))
			return true;
	}
	return false;
}

static pai_status wrong(pai_apply *a, const pai_group *group, pai_where where, const char *what)
{
	return pai_fail(a->ctx, PAI_E_patch_invalid, where, "rewrite \"%s\": %s", group->what,
			what);
}

static bool types_agree(const pai_type *x, const pai_type *y)
{
	if (x->kind == PAI_TYPE_UNKNOWN || y->kind == PAI_TYPE_UNKNOWN)
		return true;
	if (x->kind != y->kind)
		return false;
	if (x->dtype && y->dtype && x->dtype != y->dtype)
		return false;
	if (x->rank < 0 || y->rank < 0)
		return true;
	if (x->rank != y->rank)
		return false;
	for (int i = 0; i < x->rank; i++)
		if (x->dims[i] >= 0 && y->dims[i] >= 0 && x->dims[i] != y->dims[i])
			return false;
	return true;
}

static pai_status check_edits(pai_apply *a, const pai_group *group)
{
	for (int i = 0; i < group->edits.n; i++) {
		const pai_edit *e = group->edits.at[i];
		pai_value *now = e->now ? pai_patch_resolve(a, e->now) : NULL;
		assert(now || (e->kind != PAI_EDIT_REPLACE && e->kind != PAI_EDIT_REWIRE));
		switch (e->kind) {
		case PAI_EDIT_REPLACE:
			if (e->value->graph != a->g)
				return wrong(a, group, pai_at_value(e->value),
					     "is of another graph");
			if (!types_agree(&e->value->type, &now->type))
				return wrong(a, group, pai_at_value(e->value),
					     "its replacement has another type");
			if (now != e->value && !pai_can_replace(e->value, now))
				return wrong(a, group, pai_at_value(e->value),
					     "a graph output cannot be replaced by an input, an "
					     "initialiser or another output");
			break;
		case PAI_EDIT_REWIRE:
			if (e->slot < 0 || e->slot >= e->node->n_in)
				return wrong(a, group, pai_at_node(e->node), "has no such input");
			break;
		case PAI_EDIT_SET_INIT:
			if (!e->value->init || e->value->init->dtype != e->tensor->dtype ||
			    e->value->init->nbytes != e->tensor->nbytes)
				return wrong(a, group, pai_at_value(e->value),
					     "its new contents have another type or size");
			break;
		case PAI_EDIT_NAME:
			if (pai_graph_value(a->g, e->text) &&
			    pai_graph_value(a->g, e->text) != e->value)
				return wrong(a, group, pai_at_value(pai_graph_value(a->g, e->text)),
					     "the name is taken");
			break;
		case PAI_EDIT_NODE:
		case PAI_EDIT_INIT:
		case PAI_EDIT_SUCCEED:
		case PAI_EDIT_ERASE:
		case PAI_EDIT_ERASE_INIT:
		case PAI_EDIT_FUNCTION:
		case PAI_EDIT_IMPORT:
		case PAI_EDIT_COUNT:
		case PAI_EDIT_PROP:
			break;
		}
	}
	return PAI_OK;
}

/* The value as the group under check will leave it. */
static pai_track *then(pai_apply *a, const pai_value *v)
{
	pai_track *t = pai_track_of(a, v);
	if (t && t->group != a->group) {
		t->group = a->group;
		t->readers_then = t->readers;
		t->replaced_by = NULL;
		t->output_then = v->is_output;
	}
	return t;
}

static pai_value *resolve_then(pai_apply *a, pai_value *v)
{
	v = pai_patch_resolve(a, v);
	for (const pai_track *t; (t = then(a, v)) && t->replaced_by;)
		v = pai_patch_resolve(a, t->replaced_by);
	return v;
}

static void count_then(pai_apply *a, pai_value *v, int change)
{
	pai_track *t = then(a, v);
	if (t)
		t->readers_then += change;
}

static pai_status count_reads_of(void *payload, pai_graph *g)
{
	pai_apply *a = payload;
	for (int i = 0; i < g->nodes.n; i++)
		for (int k = 0; k < g->nodes.at[i]->n_in; k++)
			count_then(a, pai_patch_resolve(a, g->nodes.at[i]->in[k]), 1);
	for (int i = 0; i < g->outputs.n; i++)
		count_then(a, pai_patch_resolve(a, g->outputs.at[i]), 1);
	return PAI_OK;
}

static pai_status uncount_reads_of(void *payload, pai_graph *g)
{
	pai_apply *a = payload;
	for (int i = 0; i < g->nodes.n; i++)
		for (int k = 0; k < g->nodes.at[i]->n_in; k++)
			count_then(a, resolve_then(a, g->nodes.at[i]->in[k]), -1);
	for (int i = 0; i < g->outputs.n; i++)
		count_then(a, resolve_then(a, g->outputs.at[i]), -1);
	return PAI_OK;
}

/* What input `slot` reads after the edits of the group before number `before`. */
static pai_value *read_then(pai_apply *a, const pai_group *group, const pai_node *n, int slot,
			    int before)
{
	for (int i = before - 1; i >= 0; i--) {
		const pai_edit *e = group->edits.at[i];
		if (e->kind == PAI_EDIT_REWIRE && e->node == n && e->slot == slot)
			return resolve_then(a, e->now);
	}
	return resolve_then(a, n->in[slot]);
}

static void replace_then(pai_apply *a, pai_value *old, pai_value *now)
{
	pai_track *from = then(a, old), *to;
	if (old == now)
		return;
	from->replaced_by = now;
	if ((to = then(a, now))) {
		to->readers_then += from->readers_then;
		to->output_then |= from->output_then;
	}
	from->readers_then = 0;
	from->output_then = false;
}

/* The edits of the group in the order in which apply_group takes them, on the counters alone. */
static void simulate(pai_apply *a, const pai_group *group)
{
	int rewired = 0; /* edits up to the last that rewires: none is looked for in other groups */
	for (int i = 0; i < group->edits.n; i++) {
		const pai_edit *e = group->edits.at[i];
		if (e->kind == PAI_EDIT_REPLACE) {
			replace_then(a, e->value, resolve_then(a, e->now));
		} else if (e->kind == PAI_EDIT_REWIRE) {
			count_then(a, read_then(a, group, e->node, e->slot, rewired), -1);
			count_then(a, resolve_then(a, e->now), 1);
			rewired = i + 1;
		}
	}
	for (int i = 0; i < group->edits.n; i++) { /* new nodes read what is meant before it all */
		const pai_edit *e = group->edits.at[i];
		for (int k = 0; e->kind == PAI_EDIT_NODE && k < e->node->n_in; k++)
			count_then(a, pai_patch_resolve(a, e->node->in[k]), 1);
		if (e->kind == PAI_EDIT_NODE)
			pai_walk_bodies(e->node, count_reads_of, a);
	}
	for (int i = 0; i < group->edits.n; i++) {
		const pai_edit *e = group->edits.at[i];
		for (int k = 0; e->kind == PAI_EDIT_ERASE && k < e->node->n_in; k++)
			count_then(a, read_then(a, group, e->node, k, rewired), -1);
		if (e->kind == PAI_EDIT_ERASE)
			pai_walk_bodies(e->node, uncount_reads_of, a);
	}
}

static bool needed_then(pai_apply *a, const pai_value *v)
{
	const pai_track *t = then(a, v);
	return t && (t->readers_then > 0 || t->output_then);
}

/* Nothing may read what goes. */
static pai_status check_erased(pai_apply *a, const pai_group *group)
{
	for (int i = 0; i < group->edits.n; i++) {
		const pai_edit *e = group->edits.at[i];
		for (int k = 0; e->kind == PAI_EDIT_ERASE && k < e->node->n_out; k++)
			if (e->node->out[k] && needed_then(a, e->node->out[k]))
				return wrong(a, group, pai_at_output(e->node, k),
					     "is erased but still read");
		if (e->kind == PAI_EDIT_ERASE_INIT && needed_then(a, e->value))
			return wrong(a, group, pai_at_value(e->value), "is erased but still read");
	}
	return PAI_OK;
}

/* ---- order ---- */

void pai_patch_number(pai_apply *a)
{
	const pai_graph *g = a->g;
	pai_arena_free(a->numbers);
	a->numbers = pai_arena_new(a->ctx);
	a->first_fresh = g->model->next_node_id;
	a->n_placed = g->nodes.n;
	a->places = PAI_NEWS(a->numbers, int, a->first_fresh + 1);
	memset(&a->fresh_keys, 0, sizeof a->fresh_keys);
	for (int i = 0; i < g->nodes.n; i++)
		a->places[g->nodes.at[i]->id] = i + 1;
}

pai_order_key pai_patch_key(const pai_apply *a, const pai_group *group)
{
	const pai_node *at = group->at;
	int place = at && at->id >= 0 && at->id < a->first_fresh ? a->places[at->id] : 0;
	return (pai_order_key){place ? place : a->n_placed + 1, a->fresh_keys.n};
}

/* The node of the graph that it is, or that holds it. */
static const pai_node *outermost(const pai_apply *a, const pai_node *n)
{
	while (n && n->graph != a->g)
		n = n->graph->owner;
	return n;
}

static pai_order_key key_of(const pai_apply *a, const pai_group *group, const pai_node *n)
{
	if (n->id < 0)
		return pai_patch_key(a, group);
	if (n->id < a->first_fresh)
		return (pai_order_key){a->places[n->id], INT_MAX};
	return a->fresh_keys.at[n->id - a->first_fresh];
}

static const pai_node *maker_of(const pai_apply *a, const pai_value *v)
{
	return v && v->graph == a->g ? v->producer : NULL;
}

typedef PAI_VEC(const pai_node *) node_list;

typedef struct reads { /* what a group makes nodes of the graph read */
	pai_apply *a;
	const pai_group *group;
	const pai_node *reader; /* whose bodies are walked */
	node_list early;        /* readers that stand before what they read */
} reads;

static void see_read(reads *r, const pai_node *reader, const pai_value *v)
{
	const pai_node *n = outermost(r->a, reader), *maker = maker_of(r->a, v);
	if (!n || n->dead || !maker || (n->id < 0 && maker->id < 0))
		return; /* new nodes are made after what they read */
	pai_order_key from = key_of(r->a, r->group, maker), to = key_of(r->a, r->group, n);
	if (from.place > to.place || (from.place == to.place && from.number >= to.number))
		PAI_PUSH(r->a->scratch, r->early, n);
}

static pai_status see_body(void *payload, pai_graph *g)
{
	reads *r = payload;
	for (int i = 0; i < g->nodes.n; i++)
		for (int k = 0; k < g->nodes.at[i]->n_in; k++)
			see_read(r, r->reader, pai_patch_resolve(r->a, g->nodes.at[i]->in[k]));
	for (int i = 0; i < g->outputs.n; i++)
		see_read(r, r->reader, pai_patch_resolve(r->a, g->outputs.at[i]));
	return PAI_OK;
}

static void see_edit(reads *r, const pai_edit *e)
{
	const pai_track *t = e->kind == PAI_EDIT_REPLACE ? pai_track_of(r->a, e->value) : NULL;
	for (int i = 0; t && i < t->uses.n; i++) {
		const pai_use u = t->uses.at[i];
		if (u.slot < 0 || u.node->in[u.slot] == e->value)
			see_read(r, u.node, resolve_then(r->a, e->value));
	}
	if (e->kind == PAI_EDIT_REWIRE)
		see_read(r, e->node, resolve_then(r->a, e->now));
	for (int k = 0; e->kind == PAI_EDIT_NODE && k < e->node->n_in; k++)
		see_read(r, e->node, pai_patch_resolve(r->a, e->node->in[k]));
	r->reader = e->node;
	if (e->kind == PAI_EDIT_NODE)
		pai_walk_bodies(e->node, see_body, r);
}

typedef struct visit { /* a node on the way back */
	const pai_node *n;
	node_list reads; /* makers of what it reads */
	int next;        /* of them */
} visit;

typedef struct search {
	pai_apply *a;
	const pai_group *group;
	pai_arena *arena;
	enum { UNSEEN, OPEN, DONE } * state; /* by node id, then by edit of the group */
	PAI_VEC(visit) way;
} search;

static void note_maker(search *s, const pai_value *v)
{
	const pai_node *maker = maker_of(s->a, v);
	if (maker)
		PAI_PUSH(s->arena, s->way.at[s->way.n - 1].reads, maker);
}

static pai_status note_body(void *payload, pai_graph *g)
{
	search *s = payload;
	bool fresh = s->way.at[s->way.n - 1].n->id < 0;
	for (int i = 0; i < g->nodes.n; i++)
		for (int k = 0; k < g->nodes.at[i]->n_in; k++) {
			pai_value *v = g->nodes.at[i]->in[k];
			note_maker(s, fresh ? pai_patch_resolve(s->a, v) : resolve_then(s->a, v));
		}
	for (int i = 0; i < g->outputs.n; i++) {
		pai_value *v = g->outputs.at[i];
		note_maker(s, fresh ? pai_patch_resolve(s->a, v) : resolve_then(s->a, v));
	}
	return PAI_OK;
}

static int index_of(const search *s, const pai_node *n)
{
	int i = 0;
	if (n->id >= 0)
		return n->id;
	while (s->group->edits.at[i]->kind != PAI_EDIT_NODE || s->group->edits.at[i]->node != n)
		i++;
	return s->a->g->model->next_node_id + i;
}

static void enter(search *s, const pai_node *n)
{
	s->state[index_of(s, n)] = OPEN;
	PAI_PUSH(s->arena, s->way, (visit){.n = n});
	for (int k = 0; k < n->n_in; k++)
		note_maker(s, n->id < 0 ? pai_patch_resolve(s->a, n->in[k])
					: read_then(s->a, s->group, n, k, s->group->edits.n));
	pai_walk_bodies(n, note_body, s);
}

/* Depth first, back from n. */
static bool reads_itself(search *s, const pai_node *n)
{
	if (s->state[index_of(s, n)] == UNSEEN)
		enter(s, n);
	while (s->way.n) {
		visit *v = &s->way.at[s->way.n - 1];
		if (v->next == v->reads.n) {
			s->state[index_of(s, v->n)] = DONE;
			s->way.n--;
			continue;
		}
		const pai_node *maker = v->reads.at[v->next++];
		if (s->state[index_of(s, maker)] == OPEN)
			return true;
		if (s->state[index_of(s, maker)] == UNSEEN)
			enter(s, maker);
	}
	return false;
}

static pai_status check_order(pai_apply *a, const pai_group *group, bool *in_order)
{
	reads r = {.a = a, .group = group};
	for (int i = 0; i < group->edits.n; i++)
		see_edit(&r, group->edits.at[i]);
	*in_order = r.early.n == 0;
	if (*in_order)
		return PAI_OK;
	search s = {.a = a, .group = group, .arena = pai_arena_new(a->ctx)};
	s.state = pai_arena_alloc(
		s.arena, sizeof *s.state * (size_t)(a->g->model->next_node_id + group->edits.n));
	const pai_node *bad = NULL;
	for (int i = 0; i < r.early.n && !bad; i++)
		bad = reads_itself(&s, r.early.at[i]) ? r.early.at[i] : NULL;
	pai_arena_free(s.arena);
	return bad ? wrong(a, group, pai_at_node(bad), "would make a cycle") : PAI_OK;
}

pai_status pai_patch_check(pai_apply *a, const pai_group *group, bool *in_order)
{
	PAI_TRY(check_edits(a, group));
	simulate(a, group);
	PAI_TRY(check_erased(a, group));
	return check_order(a, group, in_order);
}

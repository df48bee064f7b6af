/* patch_apply.c -- checks and applies the groups of a patch.
 *
 * `tracks` say who reads each value and are kept up to date through all groups, so applying costs
 * time in proportion to what changes. A place that reads no more stays listed and is told by what
 * the node reads now; how many there are is counted. A group is first resolved and checked without
 * touching the graph: stale when an earlier group took away what it is about, or made it
 * impossible, wrong when it breaks a rule by itself.
 */
#include "compiler/patch.h"
#include <assert.h>
#include <string.h>

typedef PAI_VEC(pai_use) use_list;

typedef struct track {          /* of one value */
	use_list uses;          /* all places that ever read it */
	int64_t readers;        /* places that do */
	pai_value *replacement; /* NULL: still itself */
	int output;             /* its first place among the graph's outputs + 1; 0: none */
	/* What the group under check would make of it; valid where `group` is its number. */
	int group;
	int64_t readers_then;
	pai_value *replaced_by;
	bool output_then;
} track;

typedef struct apply {
	pai_patch *patch;
	pai_graph *g;
	pai_ctx *ctx;
	pai_arena *scratch;
	PAI_VEC(track) tracks; /* by value id */
	int *next_output;      /* [outputs of the graph]: the next place of the same value + 1 */
	PAI_VEC(pai_placed) fresh;
	pai_map *node_names; /* in use in the graph */
	int group;           /* under check, from 1 */
} apply;

static track *track_of(const apply *a, const pai_value *v)
{
	return v && v->graph == a->g && v->id >= 0 && v->id < a->tracks.n ? &a->tracks.at[v->id]
									  : NULL;
}

/* What took the place of a value of the graph; NULL: it is still itself. */
static pai_value *replacement_of(const apply *a, const pai_value *v)
{
	const track *t = track_of(a, v);
	return t ? t->replacement : NULL;
}

static pai_value *resolve(const apply *a, pai_value *v)
{
	for (pai_value *next; v && (next = replacement_of(a, v));)
		v = next;
	return v;
}

static void track_values(apply *a)
{
	while (a->tracks.n < a->g->values.n)
		PAI_PUSH(a->scratch, a->tracks, (track){.readers = 0});
}

static void add_reader(apply *a, pai_value *v, pai_use use)
{
	track *t = track_of(a, v);
	if (!t)
		return;
	PAI_PUSH(a->scratch, t->uses, use);
	t->readers++;
}

static void drop_reader(apply *a, pai_value *v)
{
	track *t = track_of(a, v);
	if (t)
		t->readers--;
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

static bool imported_otherwise(const apply *a, const pai_edit *e)
{
	const int64_t here = pai_graph_opset(a->g->model->graph, e->key);
	return here && here != (int64_t)e->by;
}

/* After other groups, a replacement may not be possible any more: of two outputs that are the same,
 * only one can go; and what was to become an output may have been an input all along. The next
 * round sees that. `first`: nothing was applied before. */
static bool stale(const apply *a, const pai_group *group, bool first)
{
	if (group->at && group->at->dead)
		return true;
	for (int i = 0; i < group->edits.n; i++) {
		const pai_edit *e = group->edits.at[i];
		assert(e->node || e->kind != PAI_EDIT_NODE);
		if (e->node && e->kind != PAI_EDIT_NODE && e->node->dead)
			return true;
		for (int k = 0; e->kind == PAI_EDIT_NODE && k < e->node->n_in; k++) {
			pai_value *v = resolve(a, e->node->in[k]);
			if (v && !available(v, group, i))
				return true;
		}
		if (e->kind == PAI_EDIT_IMPORT && imported_otherwise(a, e))
			return true;
		pai_value *now = e->now ? resolve(a, e->now) : NULL;
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

static pai_status wrong(apply *a, const pai_group *group, pai_where where, const char *what)
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

static pai_status check(apply *a, const pai_group *group)
{
	for (int i = 0; i < group->edits.n; i++) {
		const pai_edit *e = group->edits.at[i];
		pai_value *now = e->now ? resolve(a, e->now) : NULL;
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
static track *then(apply *a, const pai_value *v)
{
	track *t = track_of(a, v);
	if (t && t->group != a->group) {
		t->group = a->group;
		t->readers_then = t->readers;
		t->replaced_by = NULL;
		t->output_then = v->is_output;
	}
	return t;
}

static pai_value *resolve_then(apply *a, pai_value *v)
{
	v = resolve(a, v);
	for (const track *t; (t = then(a, v)) && t->replaced_by;)
		v = resolve(a, t->replaced_by);
	return v;
}

static void count_then(apply *a, pai_value *v, int change)
{
	track *t = then(a, v);
	if (t)
		t->readers_then += change;
}

static void walk_bodies(const pai_node *n, pai_status (*visit)(void *, pai_graph *), void *payload)
{
	for (int k = 0; k < n->n_attrs; k++) {
		const pai_attr *attr = &n->attrs[k];
		if (attr->type == PAI_ATTR_GRAPH && attr->g)
			(void)pai_graph_walk(attr->g, visit, payload);
		for (int64_t j = 0; attr->type == PAI_ATTR_GRAPHS && j < attr->list.n; j++)
			(void)pai_graph_walk(attr->list.g[j], visit, payload);
	}
}

static pai_status count_reads_of(void *payload, pai_graph *g)
{
	apply *a = payload;
	for (int i = 0; i < g->nodes.n; i++)
		for (int k = 0; k < g->nodes.at[i]->n_in; k++)
			count_then(a, resolve(a, g->nodes.at[i]->in[k]), 1);
	for (int i = 0; i < g->outputs.n; i++)
		count_then(a, resolve(a, g->outputs.at[i]), 1);
	return PAI_OK;
}

static pai_status uncount_reads_of(void *payload, pai_graph *g)
{
	apply *a = payload;
	for (int i = 0; i < g->nodes.n; i++)
		for (int k = 0; k < g->nodes.at[i]->n_in; k++)
			count_then(a, resolve_then(a, g->nodes.at[i]->in[k]), -1);
	for (int i = 0; i < g->outputs.n; i++)
		count_then(a, resolve_then(a, g->outputs.at[i]), -1);
	return PAI_OK;
}

/* What input `slot` reads after the edits of the group before number `before`. */
static pai_value *read_then(apply *a, const pai_group *group, const pai_node *n, int slot,
			    int before)
{
	for (int i = before - 1; i >= 0; i--) {
		const pai_edit *e = group->edits.at[i];
		if (e->kind == PAI_EDIT_REWIRE && e->node == n && e->slot == slot)
			return resolve_then(a, e->now);
	}
	return resolve_then(a, n->in[slot]);
}

static void replace_then(apply *a, pai_value *old, pai_value *now)
{
	track *from = then(a, old), *to;
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
static void simulate(apply *a, const pai_group *group)
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
			count_then(a, resolve(a, e->node->in[k]), 1);
		if (e->kind == PAI_EDIT_NODE)
			walk_bodies(e->node, count_reads_of, a);
	}
	for (int i = 0; i < group->edits.n; i++) {
		const pai_edit *e = group->edits.at[i];
		for (int k = 0; e->kind == PAI_EDIT_ERASE && k < e->node->n_in; k++)
			count_then(a, read_then(a, group, e->node, k, rewired), -1);
		if (e->kind == PAI_EDIT_ERASE)
			walk_bodies(e->node, uncount_reads_of, a);
	}
}

static bool needed_then(apply *a, const pai_value *v)
{
	const track *t = then(a, v);
	return t && (t->readers_then > 0 || t->output_then);
}

/* Nothing may read what goes. */
static pai_status check_erased(apply *a, const pai_group *group)
{
	bool erases = false;
	for (int i = 0; i < group->edits.n && !erases; i++)
		erases = group->edits.at[i]->kind == PAI_EDIT_ERASE ||
			 group->edits.at[i]->kind == PAI_EDIT_ERASE_INIT;
	if (!erases)
		return PAI_OK;
	simulate(a, group);
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

static void give_name(pai_value *v, const char *name)
{
	v->name = name;
	pai_map_put(v->graph->names, name, v);
	pai_map_put(v->graph->model->taken, name, v);
}

static void register_value(apply *a, pai_value *v)
{
	v->id = a->g->values.n;
	PAI_PUSH(a->patch->arena, a->g->values, v);
	give_name(v, pai_model_fresh_name(a->g->model, v->name));
	track_values(a);
}

/* Before IR 4 every initialiser of the main graph has to be among its inputs. */
static void list_as_input(apply *a, pai_value *v)
{
	if (a->g->owner || a->g != a->g->model->graph || a->g->model->ir_version >= 4)
		return;
	v->is_input = true;
	PAI_PUSH(a->patch->arena, a->g->inputs, v);
}

static void name_values(apply *a, const pai_group *group)
{
	for (int i = 0; i < group->edits.n; i++) { /* exact names first: nobody else takes them */
		const pai_edit *e = group->edits.at[i];
		if (e->kind == PAI_EDIT_NAME && e->value->id < 0)
			e->value->name = e->text;
	}
	for (int i = 0; i < group->edits.n; i++) {
		const pai_edit *e = group->edits.at[i];
		if (e->kind == PAI_EDIT_INIT) {
			register_value(a, e->value);
			e->value->init->name = e->value->name;
			PAI_PUSH(a->patch->arena, a->g->inits, e->value);
			list_as_input(a, e->value);
		}
		for (int k = 0; e->kind == PAI_EDIT_NODE && k < e->node->n_out; k++)
			register_value(a, e->node->out[k]);
	}
}

/* Lists the place, and leaves counting to the caller. */
static void read_from(apply *a, pai_use use, pai_value *now)
{
	if (use.slot < 0) { /* a body hands it out */
		pai_graph *body = NULL;
		for (int k = 0; k < use.node->n_attrs; k++) {
			body = use.node->attrs[k].type == PAI_ATTR_GRAPH ? use.node->attrs[k].g
									 : NULL;
			for (int i = 0; body && i < body->outputs.n; i++)
				if (resolve(a, body->outputs.at[i]) == now)
					body->outputs.at[i] = now;
		}
	} else {
		use.node->in[use.slot] = now;
	}
	use.node->changed = true;
	track *t = track_of(a, now);
	if (t)
		PAI_PUSH(a->scratch, t->uses, use);
}

/* The new value takes the name, type and place of an output; the old one gets a name of its own. */
static void move_output(apply *a, pai_value *old, pai_value *now)
{
	track *from = track_of(a, old), *to = track_of(a, now);
	for (int i = from->output; i; i = a->next_output[i - 1])
		a->g->outputs.at[i - 1] = now;
	to->output = from->output;
	from->output = 0;
	const char *name = old->name;
	old->is_output = false;
	now->is_output = true;
	now->type = old->type;
	now->stated = old->stated;
	now->inferred = old->inferred;
	now->origin = old->origin;
	old->origin = NULL;
	give_name(now, name);
	give_name(old, pai_model_fresh_name(a->g->model,
					    pai_arena_printf(a->patch->arena, "%s_inner", name)));
	if (old->producer)
		old->producer->changed = true;
	if (now->producer)
		now->producer->changed = true;
}

static void replace(apply *a, pai_value *old, pai_value *now)
{
	track *t = track_of(a, old);
	const use_list moving = t->uses;
	const int64_t readers = t->readers;
	if (old == now)
		return;
	t->uses = (use_list){0};
	t->readers = 0;
	t->replacement = now;
	if (now->type.kind == PAI_TYPE_UNKNOWN)
		now->type = old->type; /* inference will object where that is not so */
	for (int i = 0; i < moving.n; i++) {
		const pai_use u = moving.at[i];
		if (u.slot < 0 || u.node->in[u.slot] == old)
			read_from(a, u, now);
	}
	if ((t = track_of(a, now)))
		t->readers += readers;
	if (old->is_output)
		move_output(a, old, now);
}

/* The name may be used again. */
static void bury(pai_value *v)
{
	v->dead = true;
	if (pai_map_get(v->graph->model->taken, v->name) == v)
		pai_map_put(v->graph->model->taken, v->name, NULL);
}

static pai_status resolve_reads_of(void *payload, pai_graph *g)
{
	apply *a = payload;
	for (int i = 0; i < g->nodes.n; i++)
		for (int k = 0; k < g->nodes.at[i]->n_in; k++)
			g->nodes.at[i]->in[k] = resolve(a, g->nodes.at[i]->in[k]);
	for (int i = 0; i < g->outputs.n; i++)
		g->outputs.at[i] = resolve(a, g->outputs.at[i]);
	return PAI_OK;
}

static pai_status add_readers_of(void *payload, pai_graph *g)
{
	apply *a = payload;
	for (int i = 0; i < g->nodes.n; i++)
		for (int k = 0; k < g->nodes.at[i]->n_in; k++)
			add_reader(a, g->nodes.at[i]->in[k], (pai_use){g->nodes.at[i], k});
	for (int i = 0; i < g->outputs.n; i++)
		add_reader(a, g->outputs.at[i], (pai_use){g->owner, -1});
	return PAI_OK;
}

static pai_status drop_readers_of(void *payload, pai_graph *g)
{
	apply *a = payload;
	for (int i = 0; i < g->nodes.n; i++)
		for (int k = 0; k < g->nodes.at[i]->n_in; k++)
			drop_reader(a, g->nodes.at[i]->in[k]);
	for (int i = 0; i < g->outputs.n; i++)
		drop_reader(a, g->outputs.at[i]);
	return PAI_OK;
}

static void erase_node(apply *a, pai_node *n)
{
	n->dead = true;
	if (pai_map_get(a->node_names, n->name) == n)
		pai_map_put(a->node_names, n->name, NULL);
	for (int k = 0; k < n->n_in; k++)
		drop_reader(a, n->in[k]);
	walk_bodies(n, drop_readers_of, a); /* what they read of this graph */
	for (int k = 0; k < n->n_out; k++)
		if (n->out[k])
			bury(n->out[k]);
}

/* After all groups: those that went leave the list at once. */
static void drop_lost_inits(apply *a)
{
	int kept = 0;
	for (int i = 0; i < a->g->inits.n; i++)
		if (!a->g->inits.at[i]->dead)
			a->g->inits.at[kept++] = a->g->inits.at[i];
	a->g->inits.n = kept;
}

static void insert_node(apply *a, pai_node *n, pai_node *at)
{
	n->id = a->g->model->next_node_id++;
	if (n->n_out && n->out[0])
		n->name = n->out[0]->name;
	const char *hint = n->name;
	for (int i = 1; *hint && pai_map_get(a->node_names, n->name); i++)
		n->name = pai_arena_printf(a->patch->arena, "%s_%d", hint, i);
	pai_map_put(a->node_names, n->name, n);
	for (int k = 0; k < n->n_in; k++)
		add_reader(a, n->in[k], (pai_use){n, k});
	walk_bodies(n, add_readers_of, a);
	PAI_PUSH(a->scratch, a->fresh, ((pai_placed){n, at}));
}

/* The name of a node that went, unless another has it too. */
static void inherit_name(apply *a, pai_node *n, const pai_node *from)
{
	if (!*from->name || pai_map_get(a->node_names, from->name))
		return;
	pai_map_put(a->node_names, n->name, NULL);
	pai_map_put(a->node_names, from->name, n);
	n->name = from->name;
}

static bool is_made_by(const pai_group *group, const pai_value *v)
{
	for (int i = 0; i < group->edits.n; i++) {
		const pai_edit *e = group->edits.at[i];
		if ((e->kind == PAI_EDIT_INIT && e->value == v) ||
		    (e->kind == PAI_EDIT_NODE && e->node == v->producer))
			return true;
	}
	return false;
}

/* A new value that was made unique from the name of the one it replaces takes that name once the
 * other is gone, and so does its node. */
static void inherit_value_name(apply *a, const pai_group *group, const pai_edit *e)
{
	pai_value *now = resolve(a, e->now);
	const char *name = e->value->name, *had = now->name;
	const size_t n = strlen(name);
	if (!e->value->dead || now->is_output || !is_made_by(group, now) || !n ||
	    strncmp(had, name, n) != 0 || had[n] != '_' ||
	    had[n + 1 + strspn(had + n + 1, "0123456789")] || pai_map_get(a->g->model->taken, name))
		return;
	pai_model_release_name(a->g->model, had);
	pai_map_put(now->graph->names, had, NULL);
	give_name(now, name);
	if (now->init)
		now->init->name = name;
	if (!now->producer || strcmp(now->producer->name, had) != 0 ||
	    pai_map_get(a->node_names, name))
		return;
	pai_map_put(a->node_names, had, NULL);
	pai_map_put(a->node_names, name, now->producer);
	now->producer->name = name;
}

static void set_prop(pai_arena *arena, pai_props *p, const char *key, const char *value)
{
	if (value) {
		pai_prop_set(arena, p, key, value);
		return;
	}
	for (int i = 0; i < p->n; i++) {
		if (strcmp(p->at[i].key, key) == 0) {
			memmove(&p->at[i], &p->at[i + 1], sizeof *p->at * (size_t)(p->n - i - 1));
			p->n--;
			return;
		}
	}
}

static void apply_edit(apply *a, const pai_edit *e)
{
	pai_model *m = a->g->model;
	pai_value *now = e->now ? resolve(a, e->now) : NULL;
	switch (e->kind) {
	case PAI_EDIT_REPLACE:
		replace(a, e->value, now);
		break;
	case PAI_EDIT_REWIRE:
		drop_reader(a, e->node->in[e->slot]);
		read_from(a, (pai_use){e->node, e->slot}, now);
		if (track_of(a, now))
			track_of(a, now)->readers++;
		break;
	case PAI_EDIT_SET_INIT:
		e->tensor->name = e->value->name;
		e->value->init = e->tensor;
		break;
	case PAI_EDIT_FUNCTION:
		if (!pai_model_function(m, e->function->domain, e->function->name,
					e->function->overload))
			pai_model_add_function(m, e->function);
		break;
	case PAI_EDIT_IMPORT:
		pai_model_import(m, e->key, (int64_t)e->by);
		break;
	case PAI_EDIT_COUNT:
		*e->counter += e->by;
		break;
	case PAI_EDIT_PROP:
		set_prop(m->arena, e->node ? &e->node->props : &a->g->props, e->key, e->text);
		if (e->node)
			e->node->changed = true;
		break;
	case PAI_EDIT_NODE:
	case PAI_EDIT_INIT:
	case PAI_EDIT_NAME:
	case PAI_EDIT_SUCCEED:
	case PAI_EDIT_ERASE:
	case PAI_EDIT_ERASE_INIT:
		break;
	}
}

/* In this order: names, what existing nodes read, new nodes, what goes. */
static void apply_group(apply *a, const pai_group *group)
{
	for (int i = 0; i < group->edits.n; i++) { /* operands are meant as they are now */
		const pai_edit *e = group->edits.at[i];
		for (int k = 0; e->kind == PAI_EDIT_NODE && k < e->node->n_in; k++)
			e->node->in[k] = resolve(a, e->node->in[k]);
		if (e->kind == PAI_EDIT_NODE)
			walk_bodies(e->node, resolve_reads_of, a);
	}
	name_values(a, group);
	for (int i = 0; i < group->edits.n; i++)
		apply_edit(a, group->edits.at[i]);
	for (int i = 0; i < group->edits.n; i++)
		if (group->edits.at[i]->kind == PAI_EDIT_NODE)
			insert_node(a, group->edits.at[i]->node, group->at);
	for (int i = 0; i < group->edits.n; i++)
		if (group->edits.at[i]->kind == PAI_EDIT_ERASE)
			erase_node(a, group->edits.at[i]->node);
	for (int i = 0; i < group->edits.n; i++)
		if (group->edits.at[i]->kind == PAI_EDIT_SUCCEED)
			inherit_name(a, group->edits.at[i]->node, group->edits.at[i]->from);
	for (int i = 0; i < group->edits.n; i++)
		if (group->edits.at[i]->kind == PAI_EDIT_ERASE_INIT)
			bury(group->edits.at[i]->value);
	for (int i = 0; i < group->edits.n; i++)
		if (group->edits.at[i]->kind == PAI_EDIT_REPLACE)
			inherit_value_name(a, group, group->edits.at[i]);
}

static void collect_readers(apply *a)
{
	pai_uses *u = pai_uses_new(a->scratch, a->g);
	a->node_names = pai_map_new(a->scratch);
	for (int i = 0; i < a->g->nodes.n; i++)
		pai_map_put(a->node_names, a->g->nodes.at[i]->name, a->g->nodes.at[i]);
	track_values(a);
	for (int i = 0; i < a->g->values.n; i++)
		for (int k = 0; k < u->n[i]; k++)
			add_reader(a, a->g->values.at[i], u->of[i][k]);
	a->next_output = PAI_NEWS(a->scratch, int, a->g->outputs.n + 1);
	for (int i = a->g->outputs.n; i > 0; i--) {
		track *t = track_of(a, a->g->outputs.at[i - 1]);
		if (!t)
			continue;
		a->next_output[i - 1] = t->output;
		t->output = i;
	}
}

static pai_status apply_all(apply *a, int limit, pai_applied *out)
{
	collect_readers(a);
	for (int i = 0; i < a->patch->groups.n && (limit < 0 || out->applied < limit); i++) {
		const pai_group *group = a->patch->groups.at[i];
		if (!group->edits.n)
			continue;
		if (stale(a, group, out->applied == 0)) {
			out->stale++;
			continue;
		}
		a->group = i + 1;
		PAI_TRY(check(a, group));
		PAI_TRY(check_erased(a, group));
		apply_group(a, group);
		a->g->model->epoch++;
		out->applied++;
	}
	if (out->applied && !pai_order_nodes(a->scratch, a->g, a->fresh.n, a->fresh.at))
		return pai_fail(a->ctx, PAI_E_patch_invalid, pai_at_nothing(),
				"a rewrite made a cycle in graph \"%s\"", a->g->name);
	return PAI_OK;
}

pai_status pai_patch_apply(pai_patch *p, int limit, pai_applied *out)
{
	pai_ctx *ctx = p->graph->model->ctx;
	apply a = {.patch = p, .g = p->graph, .ctx = ctx, .scratch = pai_arena_new(ctx)};
	*out = (pai_applied){0};
	pai_status status = apply_all(&a, limit, out);
	drop_lost_inits(&a);
	pai_arena_free(a.scratch);
	return status;
}

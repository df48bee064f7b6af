/* patch_apply.c -- checks and applies the groups of a patch.
 *
 * `readers` lists who reads each value and is kept up to date through all groups, so applying costs
 * time in proportion to what changes. A group is first resolved and checked without touching the
 * graph: stale when an earlier group took away what it is about, or made it impossible, wrong when
 * it breaks a rule by itself.
 */
#include "compiler/patch.h"
#include <assert.h>
#include <string.h>

typedef PAI_VEC(pai_use) use_list;

typedef struct apply {
	pai_patch *patch;
	pai_graph *g;
	pai_ctx *ctx;
	pai_arena *scratch;
	PAI_VEC(use_list) readers;        /* by value id */
	PAI_VEC(pai_value *) replacement; /* by value id; NULL: still itself */
	PAI_VEC(pai_placed) fresh;
	pai_map *node_names; /* in use in the graph */
} apply;

/* What took the place of a value of the graph; NULL: it is still itself. */
static pai_value *replacement_of(const apply *a, const pai_value *v)
{
	return v->graph == a->g && v->id >= 0 && v->id < a->replacement.n ? a->replacement.at[v->id]
									  : NULL;
}

static pai_value *resolve(const apply *a, pai_value *v)
{
	for (pai_value *next; v && (next = replacement_of(a, v));)
		v = next;
	return v;
}

static void track_values(apply *a)
{
	while (a->readers.n < a->g->values.n) {
		PAI_PUSH(a->scratch, a->readers, ((use_list){0}));
		PAI_PUSH(a->scratch, a->replacement, (pai_value *)NULL);
	}
}

static void add_reader(apply *a, pai_value *v, pai_use use)
{
	if (v && v->graph == a->g)
		PAI_PUSH(a->scratch, a->readers.at[v->id], use);
}

static void drop_reader(apply *a, pai_value *v, pai_use use)
{
	if (!v || v->graph != a->g)
		return;
	use_list *l = &a->readers.at[v->id];
	for (int i = 0; i < l->n; i++) {
		if (l->at[i].node == use.node && l->at[i].slot == use.slot) {
			memmove(&l->at[i], &l->at[i + 1], sizeof *l->at * (size_t)(l->n - i - 1));
			l->n--;
			return;
		}
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
		case PAI_EDIT_PROP:
			break;
		}
	}
	return PAI_OK;
}

/* `hint`, or hint_1, hint_2, ... : the first that no graph of the model uses. */
static const char *fresh_name(pai_model *m, const char *hint)
{
	if (*hint && !pai_map_get(m->taken, hint))
		return hint;
	pai_arena *a = m->arena;
	for (int i = 1;; i++) {
		const char *name = pai_arena_printf(a, "%s_%d", *hint ? hint : "t", i);
		if (!pai_map_get(m->taken, name))
			return name;
	}
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
	give_name(v, fresh_name(a->g->model, v->name));
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
	add_reader(a, now, use);
}

/* The new value takes the name, type and place of an output; the old one gets a name of its own. */
static void move_output(apply *a, pai_value *old, pai_value *now)
{
	for (int i = 0; i < a->g->outputs.n; i++)
		if (a->g->outputs.at[i] == old)
			a->g->outputs.at[i] = now;
	const char *name = old->name;
	old->is_output = false;
	now->is_output = true;
	now->type = old->type;
	now->stated = old->stated;
	now->inferred = old->inferred;
	now->origin = old->origin;
	old->origin = NULL;
	give_name(now, name);
	give_name(old,
		  fresh_name(a->g->model, pai_arena_printf(a->patch->arena, "%s_inner", name)));
	if (old->producer)
		old->producer->changed = true;
	if (now->producer)
		now->producer->changed = true;
}

static void replace(apply *a, pai_value *old, pai_value *now)
{
	use_list moving = a->readers.at[old->id];
	if (old == now)
		return;
	a->readers.at[old->id] = (use_list){0};
	a->replacement.at[old->id] = now;
	if (now->type.kind == PAI_TYPE_UNKNOWN)
		now->type = old->type; /* inference will object where that is not so */
	for (int i = 0; i < moving.n; i++)
		read_from(a, moving.at[i], now);
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

static void walk_bodies(const pai_node *n, pai_status (*visit)(void *, pai_graph *), apply *a)
{
	for (int k = 0; k < n->n_attrs; k++) {
		const pai_attr *attr = &n->attrs[k];
		if (attr->type == PAI_ATTR_GRAPH && attr->g)
			(void)pai_graph_walk(attr->g, visit, a);
		for (int64_t j = 0; attr->type == PAI_ATTR_GRAPHS && j < attr->list.n; j++)
			(void)pai_graph_walk(attr->list.g[j], visit, a);
	}
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
			drop_reader(a, g->nodes.at[i]->in[k], (pai_use){g->nodes.at[i], k});
	for (int i = 0; i < g->outputs.n; i++)
		drop_reader(a, g->outputs.at[i], (pai_use){g->owner, -1});
	return PAI_OK;
}

static void erase_node(apply *a, pai_node *n)
{
	n->dead = true;
	if (pai_map_get(a->node_names, n->name) == n)
		pai_map_put(a->node_names, n->name, NULL);
	for (int k = 0; k < n->n_in; k++)
		drop_reader(a, n->in[k], (pai_use){n, k});
	walk_bodies(n, drop_readers_of, a); /* what they read of this graph */
	for (int k = 0; k < n->n_out; k++)
		if (n->out[k])
			bury(n->out[k]);
}

static void erase_init(apply *a, pai_value *v)
{
	bury(v);
	for (int i = 0; i < a->g->inits.n; i++) {
		if (a->g->inits.at[i] != v)
			continue;
		memmove(&a->g->inits.at[i], &a->g->inits.at[i + 1],
			sizeof v * (size_t)(a->g->inits.n - i - 1));
		a->g->inits.n--;
		return;
	}
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
	pai_map_put(a->g->model->taken, had, NULL);
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
		drop_reader(a, e->node->in[e->slot], (pai_use){e->node, e->slot});
		read_from(a, (pai_use){e->node, e->slot}, now);
		break;
	case PAI_EDIT_SET_INIT:
		e->tensor->name = e->value->name;
		e->value->init = e->tensor;
		break;
	case PAI_EDIT_FUNCTION:
		if (!pai_model_function(m, e->function->domain, e->function->name,
					e->function->overload))
			PAI_PUSH(m->arena, m->functions, e->function);
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
static pai_status apply_group(apply *a, const pai_group *group)
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
			erase_init(a, group->edits.at[i]->value);
	for (int i = 0; i < group->edits.n; i++)
		if (group->edits.at[i]->kind == PAI_EDIT_REPLACE)
			inherit_value_name(a, group, group->edits.at[i]);
	for (int i = 0; i < group->edits.n; i++) { /* nothing may read what went */
		const pai_edit *e = group->edits.at[i];
		for (int k = 0; e->kind == PAI_EDIT_ERASE && k < e->node->n_out; k++)
			if (e->node->out[k] &&
			    (a->readers.at[e->node->out[k]->id].n || e->node->out[k]->is_output))
				return wrong(a, group, pai_at_output(e->node, k),
					     "is erased but still read");
		if (e->kind == PAI_EDIT_ERASE_INIT &&
		    (a->readers.at[e->value->id].n || e->value->is_output))
			return wrong(a, group, pai_at_value(e->value), "is erased but still read");
	}
	return PAI_OK;
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
			PAI_PUSH(a->scratch, a->readers.at[i], u->of[i][k]);
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
		PAI_TRY(check(a, group));
		PAI_TRY(apply_group(a, group));
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
	pai_arena_free(a.scratch);
	return status;
}

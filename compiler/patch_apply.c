/* patch_apply.c -- checks and applies the groups of a patch.
 *
 * `tracks` say who reads each value and are kept up to date through all groups, so applying costs
 * time in proportion to what changes. A place that reads no more stays listed and is told by what
 * the node reads now; how many there are is counted. A group is checked before (patch_check.c).
 */
#include "compiler/patch.h"
#include <assert.h>
#include <string.h>

static void track_values(pai_apply *a)
{
	while (a->tracks.n < a->g->values.n)
		PAI_PUSH(a->scratch, a->tracks, (pai_track){.readers = 0});
}

static void add_reader(pai_apply *a, pai_value *v, pai_use use)
{
	pai_track *t = pai_track_of(a, v);
	if (!t)
		return;
	PAI_PUSH(a->scratch, t->uses, use);
	t->readers++;
}

static void drop_reader(pai_apply *a, pai_value *v)
{
	pai_track *t = pai_track_of(a, v);
	if (t)
		t->readers--;
}

static void give_name(pai_value *v, const char *name)
{
	v->name = name;
	pai_map_put(v->graph->names, name, v);
	pai_map_put(v->graph->model->taken, name, v);
}

static void register_value(pai_apply *a, pai_value *v)
{
	v->id = a->g->values.n;
	PAI_PUSH(a->patch->arena, a->g->values, v);
	give_name(v, pai_model_fresh_name(a->g->model, v->name));
	track_values(a);
}

/* Before IR 4 every initialiser of the main graph has to be among its inputs. */
static void list_as_input(pai_apply *a, pai_value *v)
{
	if (a->g->owner || a->g != a->g->model->graph || a->g->model->ir_version >= 4)
		return;
	v->is_input = true;
	PAI_PUSH(a->patch->arena, a->g->inputs, v);
}

static void name_values(pai_apply *a, const pai_group *group)
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
static void read_from(pai_apply *a, pai_use use, pai_value *now)
{
	if (use.slot < 0) { /* a body hands it out */
		pai_graph *body = NULL;
		for (int k = 0; k < use.node->n_attrs; k++) {
			body = use.node->attrs[k].type == PAI_ATTR_GRAPH ? use.node->attrs[k].g
									 : NULL;
			for (int i = 0; body && i < body->outputs.n; i++)
				if (pai_patch_resolve(a, body->outputs.at[i]) == now)
					body->outputs.at[i] = now;
		}
	} else {
		use.node->in[use.slot] = now;
	}
	use.node->changed = true;
	pai_track *t = pai_track_of(a, now);
	if (t)
		PAI_PUSH(a->scratch, t->uses, use);
}

/* The new value takes the name, type and place of an output; the old one gets a name of its own. */
static void move_output(pai_apply *a, pai_value *old, pai_value *now)
{
	pai_track *from = pai_track_of(a, old), *to = pai_track_of(a, now);
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

static void replace(pai_apply *a, pai_value *old, pai_value *now)
{
	pai_track *t = pai_track_of(a, old);
	const pai_use_list moving = t->uses;
	const int64_t readers = t->readers;
	if (old == now)
		return;
	t->uses = (pai_use_list){0};
	t->readers = 0;
	t->replacement = now;
	if (now->type.kind == PAI_TYPE_UNKNOWN)
		now->type = old->type; /* inference will object where that is not so */
	for (int i = 0; i < moving.n; i++) {
		const pai_use u = moving.at[i];
		if (u.slot < 0 || u.node->in[u.slot] == old)
			read_from(a, u, now);
	}
	if ((t = pai_track_of(a, now)))
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
	pai_apply *a = payload;
	for (int i = 0; i < g->nodes.n; i++)
		for (int k = 0; k < g->nodes.at[i]->n_in; k++)
			g->nodes.at[i]->in[k] = pai_patch_resolve(a, g->nodes.at[i]->in[k]);
	for (int i = 0; i < g->outputs.n; i++)
		g->outputs.at[i] = pai_patch_resolve(a, g->outputs.at[i]);
	return PAI_OK;
}

static pai_status add_readers_of(void *payload, pai_graph *g)
{
	pai_apply *a = payload;
	for (int i = 0; i < g->nodes.n; i++)
		for (int k = 0; k < g->nodes.at[i]->n_in; k++)
			add_reader(a, g->nodes.at[i]->in[k], (pai_use){g->nodes.at[i], k});
	for (int i = 0; i < g->outputs.n; i++)
		add_reader(a, g->outputs.at[i], (pai_use){g->owner, -1});
	return PAI_OK;
}

static pai_status drop_readers_of(void *payload, pai_graph *g)
{
	pai_apply *a = payload;
	for (int i = 0; i < g->nodes.n; i++)
		for (int k = 0; k < g->nodes.at[i]->n_in; k++)
			drop_reader(a, g->nodes.at[i]->in[k]);
	for (int i = 0; i < g->outputs.n; i++)
		drop_reader(a, g->outputs.at[i]);
	return PAI_OK;
}

static void erase_node(pai_apply *a, pai_node *n)
{
	n->dead = true;
	if (pai_map_get(a->node_names, n->name) == n)
		pai_map_put(a->node_names, n->name, NULL);
	for (int k = 0; k < n->n_in; k++)
		drop_reader(a, n->in[k]);
	pai_walk_bodies(n, drop_readers_of, a); /* what they read of this graph */
	for (int k = 0; k < n->n_out; k++)
		if (n->out[k])
			bury(n->out[k]);
}

/* After all groups: those that went leave the list at once. */
static void drop_lost_inits(pai_apply *a)
{
	int kept = 0;
	for (int i = 0; i < a->g->inits.n; i++)
		if (!a->g->inits.at[i]->dead)
			a->g->inits.at[kept++] = a->g->inits.at[i];
	a->g->inits.n = kept;
}

static void insert_node(pai_apply *a, const pai_group *group, pai_node *n)
{
	const pai_order_key key = pai_patch_key(a, group);
	n->id = a->g->model->next_node_id++;
	assert(n->id - a->first_fresh == a->fresh_keys.n);
	PAI_PUSH(a->numbers, a->fresh_keys, key);
	if (n->n_out && n->out[0])
		n->name = n->out[0]->name;
	const char *hint = n->name;
	for (int i = 1; *hint && pai_map_get(a->node_names, n->name); i++)
		n->name = pai_arena_printf(a->patch->arena, "%s_%d", hint, i);
	pai_map_put(a->node_names, n->name, n);
	for (int k = 0; k < n->n_in; k++)
		add_reader(a, n->in[k], (pai_use){n, k});
	pai_walk_bodies(n, add_readers_of, a);
	PAI_PUSH(a->scratch, a->fresh, ((pai_placed){n, group->at}));
}

/* The name of a node that went, unless another has it too. */
static void inherit_name(pai_apply *a, pai_node *n, const pai_node *from)
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
static void inherit_value_name(pai_apply *a, const pai_group *group, const pai_edit *e)
{
	pai_value *now = pai_patch_resolve(a, e->now);
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

static void apply_edit(pai_apply *a, const pai_edit *e)
{
	pai_model *m = a->g->model;
	pai_value *now = e->now ? pai_patch_resolve(a, e->now) : NULL;
	switch (e->kind) {
	case PAI_EDIT_REPLACE:
		replace(a, e->value, now);
		break;
	case PAI_EDIT_REWIRE:
		drop_reader(a, e->node->in[e->slot]);
		read_from(a, (pai_use){e->node, e->slot}, now);
		if (pai_track_of(a, now))
			pai_track_of(a, now)->readers++;
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
static void apply_group(pai_apply *a, const pai_group *group)
{
	for (int i = 0; i < group->edits.n; i++) { /* operands are meant as they are now */
		const pai_edit *e = group->edits.at[i];
		for (int k = 0; e->kind == PAI_EDIT_NODE && k < e->node->n_in; k++)
			e->node->in[k] = pai_patch_resolve(a, e->node->in[k]);
		if (e->kind == PAI_EDIT_NODE)
			pai_walk_bodies(e->node, resolve_reads_of, a);
	}
	name_values(a, group);
	for (int i = 0; i < group->edits.n; i++)
		apply_edit(a, group->edits.at[i]);
	for (int i = 0; i < group->edits.n; i++)
		if (group->edits.at[i]->kind == PAI_EDIT_NODE)
			insert_node(a, group, group->edits.at[i]->node);
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

static void collect_readers(pai_apply *a)
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
		pai_track *t = pai_track_of(a, a->g->outputs.at[i - 1]);
		if (!t)
			continue;
		a->next_output[i - 1] = t->output;
		t->output = i;
	}
}

/* What was applied made no cycle, so there is an order. */
static void put_in_order(pai_apply *a)
{
	pai_arena *scratch = pai_arena_new(a->ctx);
	bool ordered = pai_order_nodes(scratch, a->g, a->fresh.n, a->fresh.at);
	assert(ordered);
	(void)ordered;
	pai_arena_free(scratch);
	a->fresh.n = 0;
	pai_patch_number(a);
}

static pai_status apply_all(pai_apply *a, int limit, pai_applied *out)
{
	collect_readers(a);
	pai_patch_number(a);
	for (int i = 0; i < a->patch->groups.n && (limit < 0 || out->applied < limit); i++) {
		const pai_group *group = a->patch->groups.at[i];
		if (!group->edits.n)
			continue;
		if (pai_patch_stale(a, group, out->applied == 0)) {
			out->stale++;
			continue;
		}
		a->group = i + 1;
		bool in_order;
		PAI_TRY(pai_patch_check(a, group, &in_order));
		apply_group(a, group);
		a->g->model->epoch++;
		out->applied++;
		if (!in_order)
			put_in_order(a);
	}
	return PAI_OK;
}

pai_status pai_patch_apply(pai_patch *p, int limit, pai_applied *out)
{
	pai_ctx *ctx = p->graph->model->ctx;
	pai_apply a = {.patch = p, .g = p->graph, .ctx = ctx, .scratch = pai_arena_new(ctx)};
	*out = (pai_applied){0};
	pai_status status = apply_all(&a, limit, out);
	if (out->applied)
		put_in_order(&a);
	drop_lost_inits(&a);
	pai_arena_free(a.numbers);
	pai_arena_free(a.scratch);
	return status;
}

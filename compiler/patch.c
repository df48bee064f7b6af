/* patch.c -- a proposed change of one graph: recorded, then checked and applied group by group.
 *
 * While it is recorded the graph is not touched: new nodes and values hang together among
 * themselves and point at existing values. Applying resolves every operand through what earlier
 * groups replaced, refuses a group whole if it does not fit, and at the end restores topological
 * order while keeping the old order wherever it can (patch_order.c).
 */
#include "compiler/ctx.h"
#include "compiler/patch.h"
#include <string.h>

pai_patch *pai_patch_new(pai_graph *g)
{
	pai_patch *p = PAI_NEW(g->model->arena, pai_patch);
	p->graph = g;
	p->arena = g->model->arena;
	return p;
}

void pai_patch_begin(pai_patch *p, const pai_node *at, const char *what)
{
	pai_group *group = PAI_NEW(p->arena, pai_group);
	group->at = (pai_node *)at;
	group->what = pai_arena_strdup(p->arena, what);
	PAI_PUSH(p->arena, p->groups, group);
}

static pai_edit *add_edit(pai_patch *p, pai_edit_kind kind)
{
	if (!p->groups.n)
		pai_patch_begin(p, NULL, "");
	pai_group *group = p->groups.at[p->groups.n - 1];
	pai_edit *e = PAI_NEW(p->arena, pai_edit);
	e->kind = kind;
	PAI_PUSH(p->arena, group->edits, e);
	return e;
}

static pai_value *new_value(pai_patch *p, const char *hint)
{
	pai_value *v = PAI_NEW(p->arena, pai_value);
	v->name = pai_arena_strdup(p->arena, hint); /* made unique when applied */
	v->graph = p->graph;
	v->id = -1;
	v->type.rank = -1;
	return v;
}

pai_node *pai_patch_node(pai_patch *p, const char *domain, const char *op_type, const char *hint,
			 int n_in, pai_value *const *in, int n_out)
{
	pai_arena *a = p->arena;
	pai_node *n = PAI_NEW(a, pai_node);
	n->graph = p->graph;
	n->id = -1;
	n->op_type = pai_arena_strdup(a, op_type);
	n->domain = pai_arena_strdup(a, strcmp(domain, "ai.onnx") == 0 ? "" : domain);
	n->overload = "";
	n->name = pai_arena_strdup(a, hint);
	n->changed = true;
	if (!pai_model_function(p->graph->model, n->domain, op_type, "") || !*n->domain)
		n->op = pai_op_find(n->domain, op_type, pai_graph_opset(p->graph, n->domain));
	if (!n->op)
		n->op = pai_op_latest(n->domain, op_type);
	pai_ctx_know_op(p->graph->model->ctx, n->op);
	n->n_in = n_in;
	n->n_out = n_out;
	n->in = PAI_NEWS(a, pai_value *, n_in);
	pai_copy(n->in, in, sizeof *in * (size_t)n_in);
	n->out = PAI_NEWS(a, pai_value *, n_out);
	for (int i = 0; i < n_out; i++) {
		n->out[i] = new_value(p, i ? pai_arena_printf(a, "%s_%d", hint, i) : hint);
		n->out[i]->producer = n;
		n->out[i]->slot = i;
	}
	add_edit(p, PAI_EDIT_NODE)->node = n;
	return n;
}

pai_value *pai_patch_op(pai_patch *p, const char *op_type, const char *hint, int n_in,
			pai_value *const *in)
{
	return pai_patch_node(p, "", op_type, hint, n_in, in, 1)->out[0];
}

static pai_attr *add_attr(pai_patch *p, pai_node *n, const char *name, pai_attr_type type)
{
	pai_attr *attrs = PAI_NEWS(p->arena, pai_attr, n->n_attrs + 1);
	pai_copy(attrs, n->attrs, sizeof *attrs * (size_t)n->n_attrs);
	int i = 0;
	while (i < n->n_attrs && strcmp(attrs[i].name, name) != 0)
		i++;
	n->n_attrs += i == n->n_attrs;
	n->attrs = attrs;
	attrs[i] = (pai_attr){.name = pai_arena_strdup(p->arena, name), .type = type};
	return &attrs[i];
}

void pai_patch_set_int(pai_patch *p, pai_node *n, const char *name, int64_t v)
{
	add_attr(p, n, name, PAI_ATTR_INT)->i = v;
}

void pai_patch_set_float(pai_patch *p, pai_node *n, const char *name, float v)
{
	add_attr(p, n, name, PAI_ATTR_FLOAT)->f = v;
}

void pai_patch_set_string(pai_patch *p, pai_node *n, const char *name, const char *v)
{
	const char *copy = pai_arena_strdup(p->arena, v);
	add_attr(p, n, name, PAI_ATTR_STRING)->s = (pai_str){copy, strlen(copy)};
}

void pai_patch_set_ints(pai_patch *p, pai_node *n, const char *name, int64_t n_v, const int64_t *v)
{
	pai_attr *a = add_attr(p, n, name, PAI_ATTR_INTS);
	a->list.n = n_v;
	a->list.i = pai_arena_dup(p->arena, v, sizeof *v * (size_t)n_v);
}

void pai_patch_set_floats(pai_patch *p, pai_node *n, const char *name, int64_t n_v, const float *v)
{
	pai_attr *a = add_attr(p, n, name, PAI_ATTR_FLOATS);
	a->list.n = n_v;
	a->list.f = pai_arena_dup(p->arena, v, sizeof *v * (size_t)n_v);
}

void pai_patch_set_tensor(pai_patch *p, pai_node *n, const char *name, pai_tensor *t)
{
	add_attr(p, n, name, PAI_ATTR_TENSOR)->t = t;
}

void pai_patch_copy_attrs(pai_patch *p, pai_node *to, const pai_node *from)
{
	to->attrs = pai_arena_dup(p->arena, from->attrs, sizeof *to->attrs * (size_t)from->n_attrs);
	to->n_attrs = from->n_attrs;
}

void pai_patch_set_prop(pai_patch *p, pai_node *n, const char *key, const char *value)
{
	if (n->id < 0) { /* a new node */
		pai_prop_set(p->arena, &n->props, key, value);
		return;
	}
	pai_edit *e = add_edit(p, PAI_EDIT_PROP);
	e->node = n;
	e->key = pai_arena_strdup(p->arena, key);
	e->text = pai_arena_strdup(p->arena, value);
}

void pai_patch_graph_prop(pai_patch *p, const char *key, const char *value)
{
	pai_edit *e = add_edit(p, PAI_EDIT_PROP);
	e->key = pai_arena_strdup(p->arena, key);
	e->text = pai_arena_strdup(p->arena, value);
}

pai_value *pai_patch_init(pai_patch *p, const char *hint, pai_tensor *t)
{
	pai_value *v = new_value(p, hint);
	pai_arena *a = p->arena;
	v->init = t;
	v->type = (pai_type){.kind = PAI_TYPE_TENSOR, .dtype = t->dtype, .rank = t->rank};
	v->type.dims = pai_arena_dup(a, t->dims, sizeof *t->dims * (size_t)t->rank);
	add_edit(p, PAI_EDIT_INIT)->value = v;
	return v;
}

void pai_patch_name(pai_patch *p, pai_value *v, const char *name)
{
	pai_edit *e = add_edit(p, PAI_EDIT_NAME);
	e->value = v;
	e->text = pai_arena_strdup(p->arena, name);
}

void pai_patch_replace(pai_patch *p, pai_value *old, pai_value *now)
{
	pai_edit *e = add_edit(p, PAI_EDIT_REPLACE);
	e->value = old;
	e->now = now;
}

void pai_patch_rewire(pai_patch *p, pai_node *n, int slot, pai_value *now)
{
	pai_edit *e = add_edit(p, PAI_EDIT_REWIRE);
	e->node = n;
	e->slot = slot;
	e->now = now;
}

void pai_patch_succeed(pai_patch *p, pai_node *n, const pai_node *from)
{
	for (int i = 0; i < from->props.n; i++)
		pai_prop_set(p->arena, &n->props, from->props.at[i].key, from->props.at[i].value);
	n->origin = from->origin;
	pai_edit *e = add_edit(p, PAI_EDIT_SUCCEED);
	e->node = n;
	e->from = from;
}

void pai_patch_erase(pai_patch *p, pai_node *n)
{
	add_edit(p, PAI_EDIT_ERASE)->node = n;
}

void pai_patch_erase_init(pai_patch *p, pai_value *v)
{
	add_edit(p, PAI_EDIT_ERASE_INIT)->value = v;
}

void pai_patch_set_init(pai_patch *p, pai_value *v, pai_tensor *t)
{
	pai_edit *e = add_edit(p, PAI_EDIT_SET_INIT);
	e->value = v;
	e->tensor = t;
}

void pai_patch_function(pai_patch *p, pai_function *f)
{
	add_edit(p, PAI_EDIT_FUNCTION)->function = f;
}

void pai_patch_import(pai_patch *p, const char *domain, int64_t version)
{
	pai_edit *e = add_edit(p, PAI_EDIT_IMPORT);
	e->key = pai_arena_strdup(p->arena, domain);
	e->by = (uint64_t)version;
}

void pai_patch_count(pai_patch *p, uint64_t *counter, uint64_t n)
{
	pai_edit *e = add_edit(p, PAI_EDIT_COUNT);
	e->counter = counter;
	e->by = n;
}

bool pai_can_replace(const pai_value *old, const pai_value *now)
{
	return !old->is_output ||
	       (!now->is_output && !now->is_input && !now->init && now->graph == old->graph);
}

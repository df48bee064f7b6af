/* clone.c -- a copy of a model in an arena of its own.
 *
 * Structure is copied; tensor contents, names of the file and origins are shared with the original,
 * which must outlive the copy. Copies of values are found through the ids of the originals.
 */
#include "compiler/compiler.h"
#include <string.h>

typedef struct scope { /* one graph under copy, and the graphs around it */
	const pai_graph *from;
	pai_graph *to;
	const struct scope *outer;
} scope;

static pai_value *value_copy(const scope *s, const pai_value *v)
{
	if (!v)
		return NULL;
	while (s && s->from != v->graph)
		s = s->outer;
	return s ? s->to->values.at[v->id] : NULL;
}

static pai_graph *graph_copy(pai_model *m, const pai_graph *from, const scope *outer,
			     pai_node *owner);

static pai_attr *attrs_copy(pai_model *m, const pai_node *from, const scope *s, pai_node *owner)
{
	pai_attr *attrs =
		pai_arena_dup(m->arena, from->attrs, sizeof *attrs * (size_t)from->n_attrs);
	for (int i = 0; i < from->n_attrs; i++) {
		pai_attr *a = &attrs[i];
		if (a->type == PAI_ATTR_GRAPH && a->g)
			a->g = graph_copy(m, a->g, s, owner);
		if (a->type != PAI_ATTR_GRAPHS)
			continue;
		pai_graph **graphs = PAI_NEWS(m->arena, pai_graph *, a->list.n);
		for (int64_t k = 0; k < a->list.n; k++)
			graphs[k] = graph_copy(m, a->list.g[k], s, owner);
		a->list.g = graphs;
	}
	return attrs;
}

static pai_props props_copy(pai_arena *a, pai_props p)
{
	return (pai_props){pai_arena_dup(a, p.at, sizeof *p.at * (size_t)p.n), p.n, p.n};
}

static void node_copy(pai_model *m, const pai_node *from, const scope *s)
{
	pai_node *n = pai_arena_dup(m->arena, from, sizeof *n);
	n->graph = s->to;
	n->in = PAI_NEWS(m->arena, pai_value *, n->n_in);
	n->out = PAI_NEWS(m->arena, pai_value *, n->n_out);
	for (int i = 0; i < n->n_in; i++)
		n->in[i] = value_copy(s, from->in[i]);
	for (int i = 0; i < n->n_out; i++) {
		n->out[i] = value_copy(s, from->out[i]);
		if (n->out[i])
			n->out[i]->producer = n;
	}
	n->attrs = attrs_copy(m, from, s, n);
	n->props = props_copy(m->arena, from->props);
	PAI_PUSH(m->arena, s->to->nodes, n);
}

static pai_graph *graph_copy(pai_model *m, const pai_graph *from, const scope *outer,
			     pai_node *owner)
{
	pai_arena *a = m->arena;
	pai_graph *g = pai_graph_new(m, outer ? outer->to : NULL, owner, from->name);
	const scope s = {from, g, outer};
	g->origin = from->origin;
	g->props = props_copy(a, from->props);
	for (int i = 0; i < from->values.n; i++) {
		const pai_value *old = from->values.at[i];
		pai_value *v = pai_arena_dup(a, old, sizeof *v);
		v->graph = g;
		v->producer = NULL;
		v->init = old->init ? pai_arena_dup(a, old->init, sizeof *old->init) : NULL;
		PAI_PUSH(a, g->values, v);
		if (*v->name && !v->dead) {
			pai_map_put(g->names, v->name, v);
			pai_map_put(m->taken, v->name, v);
		}
	}
	for (int i = 0; i < from->inputs.n; i++)
		PAI_PUSH(a, g->inputs, value_copy(&s, from->inputs.at[i]));
	for (int i = 0; i < from->inits.n; i++)
		PAI_PUSH(a, g->inits, value_copy(&s, from->inits.at[i]));
	for (int i = 0; i < from->nodes.n; i++)
		node_copy(m, from->nodes.at[i], &s);
	for (int i = 0; i < from->outputs.n; i++)
		PAI_PUSH(a, g->outputs, value_copy(&s, from->outputs.at[i]));
	return g;
}

static void function_of_all(pai_graph *g, pai_function *f)
{
	g->function = f;
	for (int i = 0; i < g->nodes.n; i++) {
		pai_node *n = g->nodes.at[i];
		for (int k = 0; k < n->n_attrs; k++) {
			pai_attr *a = &n->attrs[k];
			if (a->type == PAI_ATTR_GRAPH && a->g)
				function_of_all(a->g, f);
			if (a->type == PAI_ATTR_GRAPHS)
				for (int64_t j = 0; j < a->list.n; j++)
					function_of_all(a->list.g[j], f);
		}
	}
}

pai_model *pai_model_clone(const pai_model *from)
{
	pai_arena *a = pai_arena_new(from->ctx);
	pai_model *m = pai_arena_dup(a, from, sizeof *m);
	m->arena = a;
	m->taken = pai_map_new(a);
	m->called = pai_map_new(a);
	m->hints = NULL; /* its names are its own */
	m->functions.at = NULL;
	m->functions.n = m->functions.cap = 0;
	m->props = props_copy(a, from->props);
	m->opsets = pai_arena_dup(a, from->opsets, sizeof *m->opsets * (size_t)from->n_opsets);
	for (int i = 0; i < from->functions.n; i++) {
		pai_function *f = pai_arena_dup(a, from->functions.at[i], sizeof *f);
		f->graph = graph_copy(m, f->graph, NULL, NULL);
		function_of_all(f->graph, f);
		pai_model_add_function(m, f);
	}
	m->graph = graph_copy(m, from->graph, NULL, NULL);
	return m;
}

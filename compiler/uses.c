/* uses.c -- who reads each value of a graph. */
#include "compiler/compiler.h"

typedef struct counter { /* first counts, then fills */
	const pai_graph *g;
	int *n;
	pai_use **of; /* NULL while counting */
} counter;

static pai_status visit(void *payload, pai_graph *g)
{
	counter *c = payload;
	for (int i = 0; i < g->nodes.n; i++) {
		pai_node *n = g->nodes.at[i];
		for (int k = 0; k < n->n_in; k++) {
			const pai_value *v = n->in[k];
			if (!v || v->graph != c->g)
				continue;
			if (c->of)
				c->of[v->id][c->n[v->id]] = (pai_use){n, k};
			c->n[v->id]++;
		}
	}
	for (int i = 0; g != c->g && i < g->outputs.n; i++) { /* a body may hand out our value */
		const pai_value *v = g->outputs.at[i];
		if (v->graph != c->g)
			continue;
		if (c->of)
			c->of[v->id][c->n[v->id]] = (pai_use){g->owner, -1};
		c->n[v->id]++;
	}
	return PAI_OK;
}

pai_uses *pai_uses_new(pai_arena *a, const pai_graph *g)
{
	pai_uses *u = PAI_NEW(a, pai_uses);
	int n = g->values.n;
	u->epoch = g->model->epoch;
	u->n_values = n;
	u->n = PAI_NEWS(a, int, n);
	counter c = {g, u->n, NULL};
	(void)pai_graph_walk((pai_graph *)g, visit, &c); /* visit cannot fail and changes nothing */
	c.of = PAI_NEWS(a, pai_use *, n);
	int total = 0;
	for (int i = 0; i < n; i++)
		total += u->n[i];
	pai_use *at = PAI_NEWS(a, pai_use, total);
	for (int i = 0; i < n; i++) {
		c.of[i] = at;
		at += u->n[i];
	}
	c.n = PAI_NEWS(a, int, n);
	(void)pai_graph_walk((pai_graph *)g, visit, &c);
	u->of = (const pai_use **)c.of;
	return u;
}

int pai_uses_count(const pai_uses *u, const pai_value *v)
{
	return v->id >= 0 && v->id < u->n_values ? u->n[v->id] : 0;
}

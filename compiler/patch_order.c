/* patch_order.c -- topological order after a patch, as close to the old order as it can be.
 *
 * Nodes get positions: the old ones their index, fresh ones just before their place. Then the
 * ready node with the lowest position is taken again and again (Kahn's algorithm with a heap). A
 * graph that is in order by position comes out exactly so, which the first scan finds in O(n).
 */
#include "compiler/patch.h"
#include <string.h>

typedef struct order {
	pai_graph *g;
	pai_node **nodes; /* by position */
	int n;
	int *position; /* of the producer, by value id; -1: none in this graph */
	int *waiting;  /* inputs not yet produced, by position */
	int **readers; /* positions that wait for it, by position of the producer */
	int *n_readers;
} order;

/* Calls fn(payload, value) for every value of g that node n reads, its subgraphs included. */
typedef struct reader {
	const pai_graph *g;
	void (*fn)(void *payload, pai_value *v);
	void *payload;
} reader;

static pai_status read_graph(void *payload, pai_graph *g)
{
	reader *r = payload;
	for (int i = 0; i < g->nodes.n; i++)
		for (int k = 0; k < g->nodes.at[i]->n_in; k++)
			if (g->nodes.at[i]->in[k] && g->nodes.at[i]->in[k]->graph == r->g)
				r->fn(r->payload, g->nodes.at[i]->in[k]);
	for (int i = 0; i < g->outputs.n; i++)
		if (g->outputs.at[i]->graph == r->g)
			r->fn(r->payload, g->outputs.at[i]);
	return PAI_OK;
}

static void each_read(const pai_node *n, void (*fn)(void *payload, pai_value *v), void *payload)
{
	reader r = {n->graph, fn, payload};
	for (int i = 0; i < n->n_in; i++)
		if (n->in[i] && n->in[i]->graph == n->graph)
			fn(payload, n->in[i]);
	for (int k = 0; k < n->n_attrs; k++) {
		const pai_attr *a = &n->attrs[k];
		if (a->type == PAI_ATTR_GRAPH && a->g)
			(void)pai_graph_walk(a->g, read_graph, &r);
		if (a->type == PAI_ATTR_GRAPHS)
			for (int64_t j = 0; j < a->list.n; j++)
				(void)pai_graph_walk(a->list.g[j], read_graph, &r);
	}
}

typedef struct edge_visit {
	order *o;
	int at;
	bool late; /* reads what a later position produces */
	bool fill; /* second pass: record edges */
} edge_visit;

static void see_edge(void *payload, pai_value *v)
{
	edge_visit *e = payload;
	int from = e->o->position[v->id];
	if (from < 0)
		return;
	e->late |= from >= e->at;
	if (e->fill)
		e->o->readers[from][e->o->n_readers[from]] = e->at;
	e->o->n_readers[from]++;
	e->o->waiting[e->at]++;
}

/* Counts (or records) all edges; true when every read looks back. */
static bool scan(order *o, bool fill)
{
	edge_visit e = {.o = o, .fill = fill};
	memset(o->waiting, 0, sizeof *o->waiting * (size_t)o->n);
	memset(o->n_readers, 0, sizeof *o->n_readers * (size_t)o->n);
	for (e.at = 0; e.at < o->n; e.at++)
		each_read(o->nodes[e.at], see_edge, &e);
	return !e.late;
}

static void heap_push(int *heap, int *n, int v)
{
	int i = (*n)++;
	for (; i > 0 && heap[(i - 1) / 2] > v; i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = v;
}

static int heap_pop(int *heap, int *n)
{
	int top = heap[0], last = heap[--*n], i = 0;
	for (int child; (child = 2 * i + 1) < *n; i = child) {
		if (child + 1 < *n && heap[child + 1] < heap[child])
			child++;
		if (heap[child] >= last)
			break;
		heap[i] = heap[child];
	}
	heap[i] = last;
	return top;
}

static bool sort(pai_arena *a, order *o)
{
	o->readers = PAI_NEWS(a, int *, o->n);
	for (int i = 0; i < o->n; i++)
		o->readers[i] = PAI_NEWS(a, int, o->n_readers[i]);
	scan(o, true);
	int *heap = PAI_NEWS(a, int, o->n), n_heap = 0, done = 0;
	pai_node **sorted = PAI_NEWS(a, pai_node *, o->n);
	for (int i = 0; i < o->n; i++)
		if (!o->waiting[i])
			heap_push(heap, &n_heap, i);
	while (n_heap) {
		int at = heap_pop(heap, &n_heap);
		sorted[done++] = o->nodes[at];
		for (int k = 0; k < o->n_readers[at]; k++)
			if (--o->waiting[o->readers[at][k]] == 0)
				heap_push(heap, &n_heap, o->readers[at][k]);
	}
	if (done < o->n)
		return false;
	o->nodes = sorted;
	return true;
}

/* Old nodes with the fresh ones before their places, in the order of `fresh` at equal places. */
static void merge(pai_arena *a, order *o, int n_fresh, const pai_placed *fresh)
{
	pai_graph *g = o->g;
	int *first = PAI_NEWS(a, int, g->nodes.n + 1), *next = PAI_NEWS(a, int, n_fresh);
	for (int i = 0; i <= g->nodes.n; i++)
		first[i] = -1;
	int *index = PAI_NEWS(a, int, g->model->next_node_id + 1); /* place + 1, by node id */
	for (int i = 0; i < g->nodes.n; i++)
		index[g->nodes.at[i]->id] = i + 1;
	for (int i = n_fresh - 1; i >= 0; i--) {
		const pai_node *at = fresh[i].at;
		int place = at && at->id >= 0 && index[at->id] ? index[at->id] - 1 : g->nodes.n;
		next[i] = first[place];
		first[place] = i;
	}
	o->nodes = PAI_NEWS(a, pai_node *, g->nodes.n + n_fresh);
	for (int i = 0; i <= g->nodes.n; i++) {
		for (int f = first[i]; f >= 0; f = next[f])
			if (!fresh[f].node->dead)
				o->nodes[o->n++] = fresh[f].node;
		if (i < g->nodes.n && !g->nodes.at[i]->dead)
			o->nodes[o->n++] = g->nodes.at[i];
	}
}

bool pai_order_nodes(pai_arena *scratch, pai_graph *g, int n_fresh, const pai_placed *fresh)
{
	order o = {.g = g};
	merge(scratch, &o, n_fresh, fresh);
	o.position = PAI_NEWS(scratch, int, g->values.n);
	for (int i = 0; i < g->values.n; i++)
		o.position[i] = -1;
	for (int i = 0; i < o.n; i++)
		for (int k = 0; k < o.nodes[i]->n_out; k++)
			if (o.nodes[i]->out[k])
				o.position[o.nodes[i]->out[k]->id] = i;
	o.waiting = PAI_NEWS(scratch, int, o.n);
	o.n_readers = PAI_NEWS(scratch, int, o.n);
	if (!scan(&o, false) && !sort(scratch, &o))
		return false;
	g->nodes.n = 0;
	for (int i = 0; i < o.n; i++)
		PAI_PUSH(g->model->arena, g->nodes, o.nodes[i]);
	return true;
}

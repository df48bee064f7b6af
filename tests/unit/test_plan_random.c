/* test_plan_random.c -- plans of random graphs: fast against reference, forwards and backwards.
 *
 * A seed gives a graph of some ten nodes over values of several ranks: values with many readers,
 * results that are also read on, inputs handed straight to outputs, empty tensors, single numbers,
 * chains that may be done in place, views of views. Both backends must agree, and agree again when
 * every byte of the plan's memory is filled with NaN before the run and each tensor with NaN after
 * its last reader: a step that reads what is dead, or was never written, shows.
 *
 * A gradient may be a sum whose terms cancel, as that of a shift before BatchNormalization does:
 * then nothing but roundings is left of it. Where the backends differ, the same graph in double
 * tells: once as it is, and once with the results of every step rounded up to float, which shows
 * what roundings make of the sum of their terms. Both backends have to be as near to the first as
 * the second is, but for a factor. */
#include "runtime/plan.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { GRAPHS = 600, VALUES = 64, RANK = 4, TEXT = 1 << 14 };

typedef struct value { /* of the graph under construction */
	int rank;
	int64_t dims[RANK];
	bool weight;
} value;

typedef struct maker {
	uint32_t state;
	value v[VALUES]; /* named v0, v1, ... */
	int n, n_inputs; /* the first are graph inputs */
	char body[TEXT], *at;
	char extra[TEXT], *more; /* inputs that weights become, as text */
} maker;

static uint32_t next(maker *g, uint32_t n)
{
	g->state = g->state * 1664525u + 1013904223u;
	return (g->state >> 10) % n;
}

static int add(maker *g, int rank, const int64_t *dims, bool weight)
{
	value *v = &g->v[g->n];
	*v = (value){.rank = rank, .weight = weight};
	pai_copy(v->dims, dims, sizeof *dims * (size_t)rank);
	return g->n++;
}

static int64_t nelem(const value *v)
{
	int64_t n = 1;
	for (int i = 0; i < v->rank; i++)
		n *= v->dims[i];
	return n;
}

static bool same_dims(const value *a, const value *b)
{
	return a->rank == b->rank && !memcmp(a->dims, b->dims, sizeof *a->dims * (size_t)a->rank);
}

/* A value that is no weight; the newest ones more often. rank -1: any. -1: there is none. */
static int pick(maker *g, int rank)
{
	for (int tries = 0; tries < 20; tries++) {
		int i = next(g, 2) ? (int)next(g, (uint32_t)g->n)
				   : g->n - 1 - (int)next(g, (uint32_t)(g->n < 4 ? g->n : 4));
		if (!g->v[i].weight && (rank < 0 || g->v[i].rank == rank))
			return i;
	}
	return -1;
}

#define EMIT(...) (g->at += sprintf(g->at, __VA_ARGS__))

static bool one_of(maker *g)
{
	static const char *const names[] = {"Relu", "Sigmoid",  "Tanh", "Neg",       "Abs",
					    "Erf",  "Identity", "Relu", "LeakyRelu", "Dropout"};
	int x = pick(g, -1);
	if (x < 0)
		return false;
	EMIT(" v%d = %s(v%d)\n", g->n, names[next(g, 10)], x);
	add(g, g->v[x].rank, g->v[x].dims, false);
	return true;
}

/* Shapes broadcast. */
static bool two_of(maker *g)
{
	static const char *const names[] = {"Add", "Sub", "Mul", "Add", "Max", "Min"};
	int a = pick(g, -1), b = pick(g, -1);
	if (a < 0 || b < 0)
		return false;
	const value *x = &g->v[a], *y = &g->v[b];
	int rank = x->rank > y->rank ? x->rank : y->rank;
	int64_t dims[RANK];
	for (int i = 0; i < rank; i++) {
		int64_t p = i >= rank - x->rank ? x->dims[i - rank + x->rank] : 1;
		int64_t q = i >= rank - y->rank ? y->dims[i - rank + y->rank] : 1;
		if (p != q && p != 1 && q != 1)
			return false;
		dims[i] = p == 1 ? q : p;
	}
	int n = 1;
	for (int i = 0; i < rank; i++)
		n *= (int)dims[i];
	if (n > 20000)
		return false;
	EMIT(" v%d = %s(v%d, v%d)\n", g->n, names[next(g, 6)], a, b);
	add(g, rank, dims, false);
	return true;
}

static void put_type(char **to, const value *v)
{
	*to += sprintf(*to, "float");
	for (int i = 0; i < v->rank; i++)
		*to += sprintf(*to, "%s%lld", i ? "," : "[", (long long)v->dims[i]);
	*to += sprintf(*to, "%s", v->rank ? "]" : "");
}

static int parameter(maker *g, int rank, const int64_t *dims)
{
	int w = add(g, rank, dims, true);
	g->more += sprintf(g->more, ", ");
	put_type(&g->more, &g->v[w]);
	g->more += sprintf(g->more, " v%d", w);
	return w;
}

/* A parameter, or something computed from one, whose channels a plan may put last. */
static int weight(maker *g, int rank, const int64_t *dims)
{
	int64_t larger[RANK];
	bool empty = false;
	for (int i = 0; i < rank; i++) {
		larger[i] = dims[i] + (i >= 2);
		empty |= !dims[i];
	}
	if (rank < 3 || empty || next(g, 4))
		return parameter(g, rank, dims);
	int w = parameter(g, rank, larger);
	EMIT(" v%d = MaxPool<kernel_shape=%s>(v%d)\n", g->n, rank == 3 ? "[2]" : "[2,2]", w);
	return add(g, rank, dims, false);
}

static bool conv(maker *g)
{
	int x = pick(g, 4);
	if (x < 0)
		return false;
	value v = g->v[x];
	int64_t k = next(g, 2) ? 3 : 1, c = v.dims[1], out = 1 + next(g, 17);
	bool depthwise = c > 1 && next(g, 4) == 0, bias = next(g, 2);
	if (c > 32 || !c || !v.dims[2] || !v.dims[3])
		return false;
	out = depthwise ? c : out;
	int w = weight(g, 4, (int64_t[]){out, depthwise ? 1 : c, k, k});
	int b = bias ? weight(g, 1, &out) : -1;
	EMIT(" v%d = Conv<pads=[%d,%d,%d,%d],group=%lld>(v%d, v%d", g->n, k > 1, k > 1, k > 1,
	     k > 1, (long long)(depthwise ? c : 1), x, w);
	if (bias)
		EMIT(", v%d", b);
	EMIT(")\n");
	v.dims[1] = out;
	add(g, 4, v.dims, false);
	return true;
}

/* One value over another, or over itself; the sum with the weights where that can be. */
static bool conv_of_two(maker *g)
{
	int x = pick(g, 4), w = next(g, 2) ? x : pick(g, 4);
	if (x < 0 || w < 0 || g->v[x].dims[1] != g->v[w].dims[1] || !nelem(&g->v[x]) ||
	    !nelem(&g->v[w]) || nelem(&g->v[w]) > 2000 || g->n + 2 > VALUES)
		return false;
	value v = g->v[x];
	const int64_t *k = g->v[w].dims;
	EMIT(" v%d = Conv<pads=[%d,%d,%d,%d]>(v%d, v%d)\n", g->n, (int)(k[2] - 1) / 2,
	     (int)(k[3] - 1) / 2, (int)k[2] / 2, (int)k[3] / 2, x, w);
	v.dims[1] = k[0];
	int y = add(g, 4, v.dims, false);
	if (same_dims(&v, &g->v[w])) {
		EMIT(" v%d = Add(v%d, v%d)\n", g->n, y, w);
		add(g, 4, v.dims, false);
	}
	return true;
}

/* Fractional strides: twice the size. */
static bool conv_transpose(maker *g)
{
	int x = pick(g, 4);
	if (x < 0 || nelem(&g->v[x]) > 2000 || (g->v[x].dims[0] && !nelem(&g->v[x])) ||
	    !g->v[x].dims[1] || !g->v[x].dims[2] || !g->v[x].dims[3])
		return false;
	value v = g->v[x];
	int64_t out = 1 + next(g, 9);
	int w = weight(g, 4, (int64_t[]){v.dims[1], out, 2, 2});
	EMIT(" v%d = ConvTranspose<strides=[2,2]>(v%d, v%d)\n", g->n, x, w);
	v.dims[1] = out;
	v.dims[2] *= 2;
	v.dims[3] *= 2;
	add(g, 4, v.dims, false);
	return true;
}

static bool product(maker *g)
{
	int x = pick(g, next(g, 3) ? 2 : 3);
	if (x < 0)
		return false;
	value v = g->v[x];
	int64_t n = 1 + next(g, 20), k = v.dims[v.rank - 1];
	if (k > 600)
		return false;
	if (v.rank == 2 && next(g, 2)) {
		int w = weight(g, 2, (int64_t[]){n, k}), b = weight(g, 1, &n);
		EMIT(" v%d = Gemm<transB=1>(v%d, v%d, v%d)\n", g->n, x, w, b);
	} else {
		int w = weight(g, 2, (int64_t[]){k, n});
		EMIT(" v%d = MatMul(v%d, v%d)\n", g->n, x, w);
	}
	v.dims[v.rank - 1] = n;
	add(g, v.rank, v.dims, false);
	return true;
}

static bool pool(maker *g)
{
	int x = pick(g, 4);
	if (x < 0 || g->v[x].dims[2] < 2 || g->v[x].dims[3] < 2)
		return false;
	value v = g->v[x];
	switch (next(g, 3)) {
	case 0:
		EMIT(" v%d = MaxPool<kernel_shape=[2,2],strides=[2,2]>(v%d)\n", g->n, x);
		break;
	case 1:
		EMIT(" v%d = AveragePool<kernel_shape=[2,2],strides=[2,2]>(v%d)\n", g->n, x);
		break;
	default:
		EMIT(" v%d = GlobalAveragePool(v%d)\n", g->n, x);
		v.dims[2] = v.dims[3] = 2;
	}
	v.dims[2] /= 2;
	v.dims[3] /= 2;
	add(g, 4, v.dims, false);
	return true;
}

static bool normalize(maker *g)
{
	int x = pick(g, -1);
	if (x < 0 || g->v[x].rank < 2 || !nelem(&g->v[x]))
		return false;
	value v = g->v[x];
	bool training = next(g, 2) && nelem(&v) > 4 * v.dims[1];
	int w[4];
	for (int i = 0; i < 4; i++)
		w[i] = weight(g, 1, &v.dims[1]);
	/* A variance is no gradient's business: it must stay positive, so its square is taken. */
	EMIT(" q%d = Mul(v%d, v%d)\n", g->n, w[3], w[3]);
	if (training)
		EMIT(" v%d, m%d, s%d = BatchNormalization<training_mode=1,epsilon=0.1>"
		     "(v%d, v%d, v%d, v%d, q%d)\n",
		     g->n, g->n, g->n, x, w[0], w[1], w[2], g->n);
	else
		EMIT(" v%d = BatchNormalization<epsilon=0.1>(v%d, v%d, v%d, v%d, q%d)\n", g->n, x,
		     w[0], w[1], w[2], g->n);
	add(g, v.rank, v.dims, false);
	return true;
}

static bool normalize_layer(maker *g)
{
	int x = pick(g, -1);
	if (x < 0 || g->v[x].rank < 2 || !nelem(&g->v[x]))
		return false;
	value v = g->v[x];
	int axis = (int)next(g, (uint32_t)v.rank);
	int scale = weight(g, v.rank - axis, v.dims + axis);
	int bias = weight(g, v.rank - axis, v.dims + axis);
	EMIT(" v%d = LayerNormalization<axis=%d,epsilon=0.1>(v%d, v%d, v%d)\n", g->n, axis, x,
	     scale, bias);
	add(g, v.rank, v.dims, false);
	return true;
}

static bool concat(maker *g)
{
	int a = pick(g, -1), b = pick(g, -1);
	if (a < 0 || b < 0 || g->v[a].rank < 1 || g->v[a].rank != g->v[b].rank)
		return false;
	value v = g->v[a], y = g->v[b];
	int axis = (int)next(g, (uint32_t)v.rank);
	int64_t both = v.dims[axis] + y.dims[axis];
	y.dims[axis] = v.dims[axis];
	if (!same_dims(&v, &y) || nelem(&v) > 10000)
		return false;
	EMIT(" v%d = Concat<axis=%d>(v%d, v%d)\n", g->n, next(g, 2) ? axis : axis - v.rank, a, b);
	v.dims[axis] = both;
	add(g, v.rank, v.dims, false);
	return true;
}

static bool split(maker *g)
{
	int x = pick(g, -1);
	if (x < 0 || g->v[x].rank < 1 || g->n + 2 > VALUES)
		return false;
	value v = g->v[x];
	int axis = (int)next(g, (uint32_t)v.rank);
	int64_t whole = v.dims[axis], first = whole ? next(g, (uint32_t)whole + 1) : 0;
	EMIT(" n%d = Constant<value_ints=[%lld,%lld]>()\n v%d, v%d = Split<axis=%d>(v%d, n%d)\n",
	     g->n, (long long)first, (long long)(whole - first), g->n, g->n + 1, axis, x, g->n);
	v.dims[axis] = first;
	add(g, v.rank, v.dims, false);
	v.dims[axis] = whole - first;
	add(g, v.rank, v.dims, false);
	return true;
}

static bool slice(maker *g)
{
	int x = pick(g, -1);
	if (x < 0 || g->v[x].rank < 1)
		return false;
	value v = g->v[x];
	int axis = (int)next(g, (uint32_t)v.rank);
	if (!v.dims[axis])
		return false;
	int64_t from = next(g, (uint32_t)v.dims[axis]);
	EMIT(" a%d = Constant<value_ints=[%lld]>() b%d = Constant<value_ints=[1000000]>()"
	     " c%d = Constant<value_ints=[%d]>()\n v%d = Slice(v%d, a%d, b%d, c%d)\n",
	     g->n, (long long)from, g->n, g->n, axis, g->n, x, g->n, g->n, g->n);
	v.dims[axis] -= from;
	add(g, v.rank, v.dims, false);
	return true;
}

/* Another shape of as many elements. */
static bool reshape(maker *g)
{
	int x = pick(g, -1);
	if (x < 0)
		return false;
	value v = g->v[x], y = {.rank = 1 + (int)next(g, RANK)};
	int64_t left = nelem(&v);
	for (int i = 0; i < y.rank; i++) {
		int64_t d = 1 + next(g, 4);
		y.dims[i] = i == y.rank - 1 ? left : left && left % d == 0 ? d : 1;
		left /= y.dims[i] ? y.dims[i] : 1;
	}
	EMIT(" n%d = Constant<value_ints=[", g->n);
	for (int i = 0; i < y.rank; i++)
		EMIT("%s%lld", i ? "," : "", (long long)y.dims[i]);
	EMIT("]>()\n v%d = Reshape<allowzero=1>(v%d, n%d)\n", g->n, x, g->n);
	add(g, y.rank, y.dims, false);
	return true;
}

static bool transpose(maker *g)
{
	int x = pick(g, -1), perm[RANK];
	if (x < 0 || g->v[x].rank < 2)
		return false;
	value v = g->v[x], y = v;
	for (int i = 0; i < v.rank; i++)
		perm[i] = i;
	for (int i = v.rank - 1; i > 0; i--) {
		int k = (int)next(g, (uint32_t)i + 1), swap = perm[i];
		perm[i] = perm[k];
		perm[k] = swap;
	}
	EMIT(" v%d = Transpose<perm=[", g->n);
	for (int i = 0; i < v.rank; i++) {
		EMIT("%s%d", i ? "," : "", perm[i]);
		y.dims[i] = v.dims[perm[i]];
	}
	EMIT("]>(v%d)\n", x);
	add(g, y.rank, y.dims, false);
	return true;
}

static bool reduce(maker *g)
{
	int x = pick(g, -1);
	if (x < 0 || g->v[x].rank < 1 || !nelem(&g->v[x]))
		return false;
	value v = g->v[x], y = {0};
	bool keep = next(g, 2), mean = next(g, 2);
	uint32_t set = 1 + next(g, (1u << v.rank) - 1);
	const char *comma = "";
	EMIT(" n%d = Constant<value_ints=[", g->n);
	for (int i = 0; i < v.rank; i++) {
		if (set >> i & 1) {
			EMIT("%s%d", comma, i);
			comma = ",";
		}
		if (keep || !(set >> i & 1))
			y.dims[y.rank++] = set >> i & 1 ? 1 : v.dims[i];
	}
	EMIT("]>()\n v%d = %s<keepdims=%d>(v%d, n%d)\n", g->n, mean ? "ReduceMean" : "ReduceSum",
	     keep, x, g->n);
	add(g, y.rank, y.dims, false);
	return true;
}

static bool softmax(maker *g)
{
	int x = pick(g, -1);
	if (x < 0 || g->v[x].rank < 1)
		return false;
	EMIT(" v%d = %s<axis=%d>(v%d)\n", g->n, next(g, 2) ? "Softmax" : "LogSoftmax",
	     next(g, 2) ? -1 : (int)next(g, (uint32_t)g->v[x].rank), x);
	add(g, g->v[x].rank, g->v[x].dims, false);
	return true;
}

/* Convolution, added to what it was made from. */
static bool residual(maker *g)
{
	int x = pick(g, 4);
	if (x < 0 || g->v[x].dims[1] > 32 || !g->v[x].dims[1] || !g->v[x].dims[2] ||
	    !g->v[x].dims[3] || g->n + 6 > VALUES)
		return false;
	value v = g->v[x];
	int64_t c = v.dims[1];
	int w = weight(g, 4, (int64_t[]){c, c, 3, 3});
	int y = add(g, 4, v.dims, false), sum = add(g, 4, v.dims, false);
	int r = add(g, 4, v.dims, false);
	EMIT(" v%d = Conv<pads=[1,1,1,1]>(v%d, v%d)\n", y, x, w);
	if (next(g, 2))
		EMIT(" v%d = Add(v%d, v%d)\n", sum, y, x);
	else
		EMIT(" v%d = Add(v%d, v%d)\n", sum, x, y);
	EMIT(" v%d = Relu(v%d)\n", r, sum);
	return true;
}

static bool (*const kinds[])(maker *) = {
	one_of,   one_of,         two_of,      two_of,         two_of, conv,
	conv,     product,        pool,        normalize,      concat, split,
	slice,    reshape,        reshape,     transpose,      reduce, softmax,
	residual, conv_transpose, conv_of_two, normalize_layer};

/* The text of a graph; inputs are v0 .. v(n_inputs - 1). */
static char *make_graph(maker *g, uint32_t seed, bool grad)
{
	*g = (maker){.state = seed * 2654435761u};
	g->at = g->body;
	g->more = g->extra;
	static const int64_t channels[] = {1, 3, 4, 8, 16};
	int64_t n = next(g, 12) ? 1 + next(g, 3) : 0, c = channels[next(g, 5)];
	int64_t h = 1 + next(g, 6), w = 1 + next(g, 6);
	add(g, 4, (int64_t[]){n, c, h, w}, false);
	add(g, 2, (int64_t[]){n, c}, false);
	add(g, 3, (int64_t[]){c, h, w}, false);
	add(g, 0, NULL, false);
	g->n_inputs = g->n;
	int nodes = 3 + (int)next(g, 14);
	for (int i = 0; i < nodes && g->n + 8 < VALUES;) {
		int before = g->n;
		bool made = kinds[next(g, sizeof kinds / sizeof *kinds)](g);
		assert_true(made || g->n == before);
		i += made;
	}
	int last = g->n - 1, outputs = 0;
	while (g->v[last].weight)
		last--;
	if (grad) { /* so that gradients do not cancel, as those of a sum of Softmax do */
		value v = g->v[last];
		int up = weight(g, v.rank, v.dims);
		EMIT(" v%d = Mul(v%d, v%d)\n", g->n, last, up);
		last = add(g, v.rank, v.dims, false);
	}
	char *text = calloc(1, 3 * TEXT), *to = text;
	to += sprintf(to, "<ir_version: 8, opset_import: [\"\" : 17]> g (");
	for (int i = 0; i < g->n_inputs; i++) {
		to += sprintf(to, "%s", i ? ", " : "");
		put_type(&to, &g->v[i]);
		to += sprintf(to, " v%d", i);
	}
	to += sprintf(to, "%s) => (", g->extra);
	for (int i = last; i >= 0; i--) {
		if (g->v[i].weight || (i != last && next(g, i < g->n_inputs ? 8 : 4)))
			continue;
		to += sprintf(to, "%s", outputs++ ? ", " : "");
		put_type(&to, &g->v[i]);
		to += sprintf(to, " v%d", i);
	}
	sprintf(to, ") {\n%s}", g->body);
	return text;
}

static void fill(pai_tensor *t, maker *g)
{
	for (int64_t i = 0; i < pai_tensor_nelem(t); i++)
		pai_tensor_set(t, i, (double)((float)next(g, 2001) / 1000.0f - 1));
}

/* The same graph over double. */
static char *in_double(const char *text)
{
	char *out = calloc(1, 6 * TEXT), *to = out;
	for (const char *at; (at = strstr(text, "float")); text = at + strlen("float"))
		to += sprintf(to, "%.*sdouble", (int)(at - text), text);
	strcpy(to, text);
	return out;
}

typedef struct trial {
	pai_ctx *ctx;
	pai_model *m;
	const pai_tensor *in[4];
	pai_value *keep[VALUES], *bound[VALUES]; /* gradients */
	void *data[VALUES];
	size_t nbytes[VALUES];
	int n_keep, n_bound;
	pai_plan *plan;
	const pai_tensor *out[2 * VALUES];
} trial;

static void must(pai_ctx *ctx, const char *text, uint32_t seed, pai_status st)
{
	if (st == PAI_OK)
		return;
	print_error("seed %u\n%s\n", seed, text);
	for (int i = 0; i < pai_diag_count(ctx); i++)
		pai_diag_print(pai_diag_get(ctx, i), stderr, false);
	fail();
}

static void prepare(trial *t, maker *g, const char *text, uint32_t seed, bool grad)
{
	t->ctx = pai_ctx_new(NULL);
	t->ctx->threads = 2;
	must(t->ctx, text, seed, pai_text_parse(t->ctx, "random", text, strlen(text), &t->m));
	must(t->ctx, text, seed, pai_infer(t->m));
	pai_graph *graph = t->m->graph;
	pai_value *wrt[VALUES], *grads[VALUES];
	int n = graph->inputs.n;
	for (int i = 0; i < n; i++) {
		pai_value *v = wrt[i] = graph->inputs.at[i];
		pai_tensor *x =
			pai_tensor_new(t->m->arena, v->type.dtype, v->type.rank, v->type.dims);
		fill(x, g);
		if (i < g->n_inputs)
			t->in[i] = x;
		else
			v->init = x;
	}
	if (!grad)
		return;
	must(t->ctx, text, seed, pai_autodiff(t->m, 1, graph->outputs.at, NULL, n, wrt, grads));
	for (int i = 0; i < n; i++) {
		if (!grads[i])
			continue;
		if (i % 2) {
			t->keep[t->n_keep++] = grads[i];
			continue;
		}
		size_t nbytes = wrt[i]->init ? wrt[i]->init->nbytes : t->in[i]->nbytes;
		t->data[t->n_bound] = calloc(1, nbytes + 1);
		t->nbytes[t->n_bound] = nbytes;
		t->bound[t->n_bound++] = grads[i];
	}
}

static void end(trial *t)
{
	pai_plan_free(t->plan);
	for (int i = 0; i < t->n_bound; i++)
		free(t->data[i]);
	pai_model_free(t->m);
	pai_ctx_free(t->ctx);
}

/* Runs step by step; what no step will read any more is NaN at once. */
static pai_status run_poisoned(pai_plan *p)
{
	memset(p->at, 0xff, p->bytes);
	for (int i = 0; i < p->steps.n; i++) {
		PAI_TRY(p->steps.at[i].fn(p->steps.at[i].args, &p->run));
		for (int k = 0; k < p->slots.n; k++) {
			const pai_slot *s = p->slots.at[k];
			if (s->place == PAI_IN_ARENA && s->root == s && s->first >= 0 &&
			    s->last == i)
				memset(s->tensor.data, 0xff, s->tensor.nbytes);
		}
	}
	return PAI_OK;
}

static double round_up(double x)
{
	float f = (float)x;
	return (double)((double)f < x ? nextafterf(f, INFINITY) : f);
}

/* Runs step by step, and rounds up to float what each step writes: errors of one sign add up. */
static pai_status run_rounded(pai_plan *p)
{
	for (int i = 0; i < p->steps.n; i++) {
		PAI_TRY(p->steps.at[i].fn(p->steps.at[i].args, &p->run));
		for (int k = 0; k < p->slots.n; k++) {
			const pai_slot *s = p->slots.at[k];
			if (s->first != i || s->tensor.dtype != PAI_DOUBLE)
				continue;
			double *x = s->tensor.data;
			for (int64_t e = 0; e < pai_tensor_nelem(&s->tensor); e++)
				x[e] = round_up(x[e]);
		}
	}
	return PAI_OK;
}

/* NULL: agree. Sums are taken in different orders; what is wrong in memory is wrong by far. */
static const double RELATIVE = 2e-4;

static const char *disagree(int64_t n, const float *want, const float *got)
{
	double largest = 0.1, worst = 0;
	for (int64_t i = 0; i < n; i++) {
		if (!isfinite(want[i]) || fabsf(want[i]) > 1e20f)
			return NULL; /* out of hand; the next seed */
		largest = fmax(largest, (double)fabsf(want[i]));
	}
	for (int64_t i = 0; i < n; i++) {
		if (!isfinite(got[i]))
			return "is not finite";
		worst = fmax(worst, fabs((double)want[i] - (double)got[i]));
	}
	return worst > RELATIVE * largest ? "differs" : NULL;
}

static void plan(trial *t, const char *text, uint32_t seed, pai_plan_options o)
{
	o.n_keep = t->n_keep;
	o.keep = t->keep;
	o.n_bound = t->n_bound;
	o.bound = t->bound;
	o.bound_data = t->data;
	must(t->ctx, text, seed, pai_plan_new(t->ctx, t->m->graph, 4, t->in, &o, &t->plan));
	must(t->ctx, text, seed, pai_plan_run(t->plan, t->in, t->out));
}

enum { FACTOR = 8 }; /* a step of many terms rounds more than once */

/* Is this result as near to the exact one as roundings leave it? */
static bool is_rounding(int64_t n, const double *exact, const double *rounded, const float *got)
{
	double largest = 0.1, noise = 0, worst = 0;
	for (int64_t i = 0; i < n; i++) {
		largest = fmax(largest, fabs(exact[i]));
		noise = fmax(noise, fabs(rounded[i] - exact[i]));
		worst = fmax(worst, fabs((double)got[i] - exact[i]));
	}
	if (worst > RELATIVE * largest + FACTOR * noise)
		print_error("largest %g, worst difference %g, rounding up makes %g\n", largest,
			    worst, noise);
	return worst <= RELATIVE * largest + FACTOR * noise;
}

typedef struct doubles { /* made when needed */
	trial exact, rounded;
	bool made;
} doubles;

static void evaluate(doubles *d, const char *text, uint32_t seed)
{
	maker *g = calloc(1, sizeof *g);
	free(make_graph(g, seed, seed % 2));
	maker again = *g;
	char *wide = in_double(text);
	prepare(&d->exact, g, wide, seed, seed % 2);
	prepare(&d->rounded, &again, wide, seed, seed % 2);
	plan(&d->exact, wide, seed, (pai_plan_options){.backend = PAI_REFERENCE});
	plan(&d->rounded, wide, seed, (pai_plan_options){.backend = PAI_REFERENCE});
	must(d->rounded.ctx, wide, seed, run_rounded(d->rounded.plan));
	d->made = true;
	free(wide);
	free(g);
}

/* Result i of a trial: outputs, kept values, then what is bound. */
static const void *result(const trial *t, int i, int64_t *n, const char **name)
{
	int outputs = t->plan->n_outputs;
	if (i >= outputs + t->n_bound)
		return NULL;
	*name = i < outputs ? t->out[i]->name : t->bound[i - outputs]->name;
	*n = i < outputs ? pai_tensor_nelem(t->out[i])
			 : (int64_t)(t->nbytes[i - outputs] / sizeof(float));
	return i < outputs ? t->out[i]->data : t->data[i - outputs];
}

static int check(const char *text, uint32_t seed, const trial *want, const trial *got, doubles *d,
		 const char *how)
{
	int bad = 0;
	int64_t n, m;
	const char *name;
	const float *w, *x;
	for (int i = 0; (w = result(want, i, &n, &name)); i++) {
		x = result(got, i, &m, &name);
		assert_int_equal(n, m);
		const char *why = disagree(n, w, x);
		if (!why)
			continue;
		if (!d->made)
			evaluate(d, text, seed);
		const double *exact = result(&d->exact, i, &m, &name);
		const double *rounded = result(&d->rounded, i, &m, &name);
		if (is_rounding(n, exact, rounded, w) && is_rounding(n, exact, rounded, x))
			continue;
		if (!bad++)
			print_error("seed %u, %s: %s %s\n%s\n", seed, how, name, why, text);
	}
	return bad;
}

static int try_seed(uint32_t seed)
{
	maker *g = calloc(1, sizeof *g);
	bool grad = seed % 2;
	char *text = make_graph(g, seed, grad);
	maker again = *g;
	trial want = {0}, got = {0};
	prepare(&want, g, text, seed, grad);
	prepare(&got, &again, text, seed, grad);
	plan(&want, text, seed, (pai_plan_options){.backend = PAI_REFERENCE});
	/* Work enough for oneDNN, or none of it. */
	plan(&got, text, seed,
	     (pai_plan_options){.threads = seed % 3 ? 1 : 2,
				.no_onednn = seed % 4 < 2,
				.work = seed % 4 < 2 ? 0 : 1e7});
	doubles d = {.made = false};
	int bad = check(text, seed, &want, &got, &d, "fast");
	must(want.ctx, text, seed, run_poisoned(want.plan));
	must(got.ctx, text, seed, run_poisoned(got.plan));
	bad = bad ? bad : check(text, seed, &want, &got, &d, "poisoned");
	if (d.made) {
		end(&d.exact);
		end(&d.rounded);
	}
	end(&want);
	end(&got);
	free(text);
	free(g);
	return bad;
}

static void test_random_graphs(void **unused)
{
	(void)unused;
	const char *only = getenv("PAI_SEED"), *count = getenv("PAI_GRAPHS");
	uint32_t n = count ? (uint32_t)atoi(count) : GRAPHS, bad = 0;
	if (only)
		bad = (uint32_t)try_seed((uint32_t)atoi(only));
	for (uint32_t seed = 1; seed <= n && !only; seed++)
		bad += try_seed(seed) != 0;
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_graphs)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

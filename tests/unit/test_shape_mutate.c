/* test_shape_mutate.c -- damaged models: attributes, sizes, contents and slots of good ones are
 * replaced by what a hostile or careless file may hold. Whatever comes, inference and the verifier
 * end with a result or with an error that names its place; the sanitizers watch the rest. What they
 * accept is inferred a second time to the same types.
 */
#include "compiler/compiler.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { ROUNDS = 150 };

static const char *const graphs[] = {
	"g (float[N,4,9,9] x, float[6,2,3,3] w, float[6] b) => (float[] y) { y = Conv <group = 2, "
	"strides = [2, 1], pads = [1, 1, 1, 1], dilations = [1, 2], kernel_shape = [3, 3]> (x, w, "
	"b) }",
	"g (float[N,4,9,9] x, float[4,2,3,3] w) => (float[] y) { y = ConvTranspose <group = 2, "
	"strides = [2, 1], pads = [1, 1, 1, 1], output_padding = [1, 0]> (x, w) }",
	"g (float[N,4,9] x) => (float[] y, int64[] i) { y, i = MaxPool <kernel_shape = [3], pads = "
	"[1, 1], "
	"strides = [2], ceil_mode = 1> (x) }",
	"g (float[N,4] x, float[4,5] w, float[5] b) => (float[] y) { z = Gemm <transB = 0> (x, w, "
	"b) "
	"y = Softmax <axis = 1> (z) }",
	"g (float[N,3,4] x) => (float[] y) <int64[2] s = {0, -1}, int64[1] a = {1}> { z = Reshape "
	"<allowzero = 0> (x, s) u = Unsqueeze(z, a) t = Transpose <perm = [2, 0, 1]> (u) "
	"q = Flatten <axis = 2> (t) y = Expand(q, s) }",
	"g (float[N,8,4] x) => (float[] y) <int64[2] s = {1, -3}, int64[2] e = {100, -1}, "
	"int64[2] a = {1, 2}, int64[2] t = {1, -1}, int64[6] p = {0, 1, 0, 0, 2, -1}, int64[3] r = "
	"{1, 2, 3}> "
	"{ c = Slice(x, s, e, a, t) d = Pad(c, p) y = Tile(d, r) }",
	"g (float[N,8] x) => (float[] y) <int64[2] s = {3, 5}, int64[2] i = {0, 1}> "
	"{ b, c = Split <axis = 1> (x, s) d = Concat <axis = 1> (b, c) e = Gather <axis = 1> (d, "
	"i) "
	"y = GatherElements <axis = 0> (e, e) }",
	"g (float[N,C,8] x, int64[N,8] t) => (float[] l) { m = ReduceMean <axes = [1], keepdims = "
	"1> (x) "
	"n = Add(x, m) l = SoftmaxCrossEntropyLoss <reduction = \"none\"> (n, t) }",
	"g (float[N,3,H,W] x) => (float[] y) <float[4] k = {1, 1, 2, 2}, int64 i = {0}, int64[1] z "
	"= {0}, "
	"int64[1] m = {-1}> { s = Shape <start = 0, end = 4> (x) n = Gather(s, i) u = Unsqueeze(n, "
	"z) "
	"t = Concat <axis = 0> (u, m) r = Reshape(x, t) f = Resize(x, , k) y = MatMul(r, f) }",
	"g () => (float[] y) <int64[2] s = {2, 3}, int64 a = {1}, int64 b = {8}, int64 c = {3}> "
	"{ z = ConstantOfShape <value = float[1] {7}> (s) r = Range(a, b, c) f = Cast <to = 1> (r) "
	"y = Einsum <equation = \"ij,k->ijk\"> (z, f) }",
	"g (float[N,3] x, float[3] s, uint8[3] o) => (float[] y) { q = QuantizeLinear <axis = 1> "
	"(x, s, o) "
	"y = DequantizeLinear <axis = 1> (q, s, o) }",
	"g (float[S,B,3] x, float[1,20,3] w, float[1,20,5] r) => (float[] y) "
	"{ h, i, j = LSTM <hidden_size = 5, direction = \"forward\"> (x, w, r) "
	"y, k = TopK <axis = -1, largest = 1> (h, w) }",
	"g (int64 n, bool c, float[N,3] x) => (float[] y, float[] s) { y, s = Loop <body = b "
	"(int64 i, "
	"bool k, a) => (k2, a2, o) { k2 = Identity(k) a2 = Concat <axis = 0> (a, a) o = "
	"Identity(a) }> "
	"(n, c, x) }",
	"g (float[2] s, float[T,5,2] x) => (float[] f, float[] o) { f, o = Scan <num_scan_inputs = "
	"1, "
	"scan_input_axes = [0], scan_output_axes = [0], body = b (float[2] a, e) => (a2, e2) "
	"{ a2 = Identity(a) e2 = Add(a, e) }> (s, x) }",
};

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static int64_t odd_value(uint64_t *state)
{
	static const int64_t values[] = {0,         -1,        1,         2,  3,  -7, INT64_MIN,
					 INT64_MAX, INT32_MAX, INT32_MIN, 63, 64, 65, 1000000007};
	return values[next(state) % (sizeof values / sizeof *values)];
}

/* n values, the old ones first, one of them odd. */
static int64_t *odd_list(pai_arena *a, uint64_t *state, const int64_t *old, int64_t n_old,
			 int64_t n)
{
	int64_t *v = PAI_NEWS(a, int64_t, n + 1);
	for (int64_t i = 0; i < n; i++)
		v[i] = i < n_old ? old[i] : odd_value(state);
	if (n)
		v[next(state) % (uint64_t)n] = odd_value(state);
	return v;
}

static void break_attr(pai_model *m, pai_node *n, uint64_t *state)
{
	if (!n->n_attrs)
		return;
	pai_attr *a = &n->attrs[next(state) % (uint64_t)n->n_attrs];
	if (a->type == PAI_ATTR_INT) {
		a->i = odd_value(state);
	} else if (a->type == PAI_ATTR_INTS) {
		int64_t count = a->list.n + (int64_t)(next(state) % 3) - 1;
		count = count < 0 ? 0 : count;
		a->list.i = odd_list(m->arena, state, a->list.i, a->list.n, count);
		a->list.n = count;
	} else if (a->type == PAI_ATTR_STRING) {
		a->s = (pai_str){"?", 1};
	} else if (next(state) % 4 == 0) {
		a->type = PAI_ATTR_INT;
		a->i = odd_value(state);
	}
}

static void break_input(pai_model *m, uint64_t *state)
{
	if (!m->graph->inputs.n)
		return;
	pai_type *t = &m->graph->inputs.at[next(state) % (uint64_t)m->graph->inputs.n]->type;
	const pai_dim odd[] = {0, 1, 7, INT64_MAX, PAI_DIM_UNKNOWN, pai_dim_symbol(m->ctx, "Q")};
	int rank = next(state) % 3 ? t->rank : (int)(next(state) % 7) - 1;
	pai_dim *dims = PAI_NEWS(m->arena, pai_dim, rank + 1);
	for (int i = 0; i < rank; i++)
		dims[i] = i < t->rank && next(state) % 3 ? t->dims[i] : odd[next(state) % 6];
	t->rank = rank;
	t->dims = dims;
}

static void break_contents(pai_model *m, uint64_t *state)
{
	if (!m->graph->inits.n)
		return;
	pai_tensor *t = m->graph->inits.at[next(state) % (uint64_t)m->graph->inits.n]->init;
	int64_t n = pai_tensor_nelem(t);
	if (t->dtype != PAI_INT64)
		return;
	int64_t count = t->rank == 1 ? n + (int64_t)(next(state) % 3) - 1 : n;
	t->data = odd_list(m->arena, state, t->data, n, count);
	t->nbytes = sizeof(int64_t) * (size_t)count;
	if (t->rank == 1)
		t->dims = pai_arena_dup(m->arena, &count, sizeof count);
}

static void break_model(pai_model *m, uint64_t *state)
{
	pai_node *n = m->graph->nodes.at[next(state) % (uint64_t)m->graph->nodes.n];
	switch (next(state) % 6) {
	case 0:
	case 1:
		break_attr(m, n, state);
		break;
	case 2:
		break_input(m, state);
		break;
	case 3:
		break_contents(m, state);
		break;
	case 4:
		if (n->n_in)
			n->in[next(state) % (uint64_t)n->n_in] = NULL;
		break;
	case 5:
		if (n->n_in)
			n->n_in--;
		break;
	}
}

static char *types_text(pai_ctx *ctx, pai_arena *a, const pai_graph *g)
{
	char *text = pai_arena_strdup(a, "");
	for (int i = 0; i < g->values.n; i++)
		text = pai_arena_printf(a, "%s %s", text,
					pai_type_text(ctx, a, &g->values.at[i]->type));
	return text;
}

/* Returns whether inference refused the damaged model. */
static bool damage(const char *graph, uint64_t seed)
{
	char text[2048];
	uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_arena *a = pai_arena_new(ctx);
	pai_model *m = NULL;
	snprintf(text, sizeof text, "<ir_version: 10, opset_import: [\"\" : 17]>\n%s", graph);
	assert_int_equal(pai_text_parse(ctx, "damaged", text, strlen(text), &m), PAI_OK);
	for (uint64_t k = 0; k <= seed % 3; k++)
		break_model(m, &state);
	pai_status status = pai_infer(m);
	if (status == PAI_OK) {
		char *once = types_text(ctx, a, m->graph);
		assert_int_equal(pai_infer(m), PAI_OK);
		assert_string_equal(types_text(ctx, a, m->graph), once);
	} else {
		assert_int_equal(status, PAI_INVALID);
		assert_true(pai_diag_count(ctx) > 0);
		assert_non_null(strstr(pai_diag_get(ctx, 0)->where, "damaged"));
	}
	(void)!pai_verify(m);
	pai_arena_free(a);
	pai_model_free(m);
	pai_ctx_free(ctx);
	return status != PAI_OK;
}

static void test_damage(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof graphs / sizeof *graphs; i++) {
		int refused = 0;
		for (uint64_t seed = 0; seed < ROUNDS; seed++)
			refused += damage(graphs[i], seed + 1000 * i);
		assert_in_range(refused, 1, ROUNDS - 1); /* neither everything nor nothing passes */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_damage)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

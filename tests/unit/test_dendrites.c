/* test_dendrites.c -- insertion of dendrites changes no bit of the outputs, on both executors, for
 * every kind of layer and span; branches have the shape of what they join. */
#include "tests/unit/context.h"

#define HEAD "<ir_version: 8, opset_import: [\"\" : 17]>\n"

typedef struct sample {
	const char *name, *text;
	int layers, spans; /* that get dendrites by recipe=reference, recipe=block */
} sample;

/* Weights are made by the test: every initialiser `name` is given as a shape in the inputs. */
static const sample samples[] = {
	{"gemm",
	 HEAD
	 "g (float[N, 5] x, float[7, 5] w1, float[7] b1, float[3, 7] w2) => (float[N, 3] y) {\n"
	 "h = Gemm<transB = 1>(x, w1, b1) r = Relu(h) y = Gemm<transB = 1>(r, w2) }",
	 2, 1},
	{"matmul",
	 HEAD "g (float[N, 4, 5] x, float[5, 6] w1, float[6] b1, float[6, 5] w2, float[5] b2)\n"
	      "=> (float[N, 4, 5] y) { m = MatMul(x, w1) h = Add(b1, m)\n"
	      "c = Constant<value = float {1.41421354}>() d = Div(h, c) e = Erf(d)\n"
	      "o = Constant<value = float {1.0}>() s = Add(e, o) p = Mul(h, s)\n"
	      "n = MatMul(p, w2) z = Add(n, b2) y = Add(z, x) }",
	 2, 1},
	{"conv",
	 HEAD "g (float[N, 2, H, 9] x, float[4, 2, 3, 3] w1, float[4] b1, float[6, 2, 3, 2] w2)\n"
	      "=> (float[N, 6, H2, W2] y) {\n"
	      "h = Conv<strides = [2, 1], pads = [1, 1, 1, 1]>(x, w1, b1) r = Relu(h)\n"
	      "y = Conv<group = 2, dilations = [1, 2]>(r, w2) }",
	 2, 1},
	{"conv-bn",
	 HEAD
	 "g (float[N, 2, 8, 8] x, float[4, 2, 3, 3] w1, float[4] s1, float[4] t1, float[4] m1,\n"
	 "float[4] v1, float[3, 4, 3, 3] w2, float[3] s2, float[3] t2, float[3] m2, float[3] v2)\n"
	 "=> (float[N, 3, 4, 4] y) {\n"
	 "h = Conv<pads = [1, 1, 1, 1]>(x, w1) n = BatchNormalization(h, s1, t1, m1, v1)\n"
	 "r = Relu(n) q = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(r, w2)\n"
	 "y = BatchNormalization(q, s2, t2, m2, v2) }",
	 2, 1},
	{"transposed",
	 HEAD "g (float[N, 3, 5, 5] x, float[3, 4, 2, 2] w1, float[4, 2, 3, 3] w2)\n"
	      "=> (float[N, 2, 12, 12] y) { h = ConvTranspose<strides = [2, 2]>(x, w1)\n"
	      "r = LeakyRelu(h) y = ConvTranspose(r, w2) }",
	 2, 1},
	{"lenet",
	 HEAD "g (float[N, 1, 8, 8] x, float[3, 1, 3, 3] w1, float[3] b1, float[4, 3, 3, 3] w2,\n"
	      "float[4] b2, float[10, 16] w3, float[10] b3, float[5, 10] w4, float[5] b4)\n"
	      "=> (float[N, 5] y) { a = Conv<pads = [1, 1, 1, 1]>(x, w1, b1) r = Relu(a)\n"
	      "p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r)\n"
	      "c = Conv<pads = [1, 1, 1, 1]>(p, w2, b2) s = Relu(c)\n"
	      "q = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(s) f = Flatten(q)\n"
	      "g1 = Gemm<transB = 1>(f, w3, b3) t = Tanh(g1) y = Gemm<transB = 1>(t, w4, b4) }",
	 4, 2},
	/* enough work for oneDNN, and sums that a backend may want to fuse into a Conv */
	{"residual",
	 HEAD "g (float[N, 3, 20, 20] x, float[16, 3, 3, 3] w1, float[16] b1,\n"
	      "float[16, 16, 3, 3] w2, float[16] b2, float[16, 16, 3, 3] w3, float[16] b3)\n"
	      "=> (float[N, 16, 20, 20] y) { a = Conv<pads = [1, 1, 1, 1]>(x, w1, b1)\n"
	      "r = Relu(a) c = Conv<pads = [1, 1, 1, 1]>(r, w2, b2) s = Relu(c)\n"
	      "d = Conv<pads = [1, 1, 1, 1]>(s, w3, b3) e = Add(d, r) y = Relu(e) }",
	 3, 2},
};

/* The text, with every input but x turned into an initialiser of seeded contents. */
static pai_model *parse(const sample *s)
{
	pai_model *m;
	must(pai_text_parse(ctx, s->name, s->text, strlen(s->text), &m), s->name);
	pai_graph *g = m->graph;
	for (int i = 1; i < g->inputs.n; i++) {
		pai_value *v = g->inputs.at[i];
		pai_random r = pai_random_new(7, (uint64_t)i, 0);
		v->is_input = false;
		v->init = pai_tensor_new(m->arena, PAI_FLOAT, v->type.rank, v->type.dims);
		v->init->name = v->name;
		for (int64_t k = 0; k < pai_tensor_nelem(v->init); k++) {
			float f = pai_random_normal(&r, (uint64_t)k);
			((float *)v->init->data)[k] = v->name[0] == 'v' ? f * f + 0.1f : f;
		}
		PAI_PUSH(m->arena, g->inits, v);
	}
	g->inputs.n = 1;
	must(pai_infer(m), s->name);
	must(pai_verify(m), s->name);
	return m;
}

static void assert_same(const pai_model *x, const pai_model *y, pai_backend backend)
{
	pai_arena *a = pai_arena_new(ctx);
	pai_plan_options o = {.backend = backend, .threads = 1};
	const pai_tensor **inputs[2];
	pai_difference *d;
	int n;
	for (int i = 0; i < 2; i++)
		must(pai_random_inputs(ctx, a, x, (uint64_t)i, &inputs[i]), "inputs");
	must(pai_compare(ctx, a, x, y, &o, 2, (const pai_tensor *const *const *)inputs, &d, &n),
	     "compare");
	for (int i = 0; i < n; i++) {
		assert_false(d[i].shape || d[i].nan);
		assert_true(d[i].abs == 0);
	}
	pai_arena_free(a);
}

static const char *prop(const pai_node *n, const char *key)
{
	const char *v = pai_prop_get(&n->props, key);
	return v ? v : "";
}

/* Combining nodes; both operands must have one shape, so that nothing is broadcast. */
static int count_combined(pai_model *m)
{
	int n = 0;
	must(pai_infer(m), "infer");
	for (int i = 0; i < m->graph->nodes.n; i++) {
		const pai_node *node = m->graph->nodes.at[i];
		if (strcmp(prop(node, "pai.dendrite.role"), "combine") != 0)
			continue;
		const pai_type *a = &node->in[0]->type, *b = &node->in[1]->type;
		assert_int_equal(a->rank, b->rank);
		for (int k = 0; k < a->rank; k++)
			assert_true(pai_dim_equal(a->dims[k], b->dims[k]));
		n++;
	}
	return n;
}

static void insertion_changes_nothing(void **state)
{
	(void)state;
	static const char *const recipes[] = {"reference", "block"};
	static const char *const f[] = {"auto", "abs", "gelu", "sq", "tanh", "relu", "lin"};
	int turn = 0;
	for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
		for (int recipe = 0; recipe < 2; recipe++)
			for (int count = 1; count <= 3; count++) {
				char text[128];
				pai_model *plain = parse(&samples[i]), *m = parse(&samples[i]);
				snprintf(text, sizeof text,
					 "add-dendrites{recipe=%s,count=%d,f=%s}", recipes[recipe],
					 count, f[turn++ % 7]);
				must(run_passes(m, text), text);
				int places = recipe ? samples[i].spans : samples[i].layers;
				assert_int_equal(count_combined(m), count * places);
				assert_same(plain, m, PAI_REFERENCE);
				assert_same(plain, m, PAI_FAST);
				must(run_passes(m, text), text); /* on top of what is there */
				assert_int_equal(count_combined(m), 2 * count * places);
				assert_same(plain, m, PAI_REFERENCE);
				pai_model_free(plain);
				pai_model_free(m);
			}
}

static const pai_tensor *parameter(const pai_model *m, const char *name)
{
	const pai_value *v = pai_graph_value(m->graph, name);
	assert_non_null(v);
	assert_non_null(v->init);
	return v->init;
}

static bool all_zero(const pai_tensor *t)
{
	for (int64_t i = 0; i < pai_tensor_nelem(t); i++)
		if (pai_tensor_get(t, i) != 0)
			return false;
	return true;
}

static void parameters_and_names(void **state)
{
	(void)state;
	pai_model *m = parse(&samples[0]);
	must(run_passes(m, "add-dendrites{width=4}"), "block");
	assert_int_equal(parameter(m, "y.dendrite.0.V")->dims[0], 5);
	assert_int_equal(parameter(m, "y.dendrite.0.V")->dims[1], 4);
	assert_false(all_zero(parameter(m, "y.dendrite.0.V")));
	assert_true(all_zero(parameter(m, "y.dendrite.0.c")));
	assert_true(all_zero(parameter(m, "y.dendrite.0.T")));
	assert_string_equal(pai_prop_get(&m->graph->props, "pai.lr.y.dendrite.0.V"), "3");
	pai_model_free(m);
	m = parse(&samples[0]);
	must(run_passes(m, "add-dendrites{recipe=reference,count=2,select=h}"), "reference");
	must(run_passes(m, "add-dendrites{recipe=reference,select=h}"), "reference");
	assert_int_equal(count_combined(m), 3);
	for (int j = 0; j < 3; j++) {
		char name[64];
		snprintf(name, sizeof name, "h.dendrite.%d.top", j);
		assert_true(all_zero(parameter(m, name)));
		for (int i = 0; i < j; i++) {
			snprintf(name, sizeof name, "h.dendrite.%d.d2d.%d", j, i);
			assert_true(all_zero(parameter(m, name)));
		}
		snprintf(name, sizeof name, "h.dendrite.%d.weight", j);
		assert_int_equal(pai_tensor_nelem(parameter(m, name)), 35);
		assert_false(all_zero(parameter(m, name)));
	}
	assert_null(pai_prop_get(&m->graph->props, "pai.lr.h.dendrite.0.top"));
	pai_model_free(m);
}

/* New weights depend on the seed, the layer and the index, not on what else is done. */
static void weights_are_reproducible(void **state)
{
	(void)state;
	pai_model *all = parse(&samples[5]), *one = parse(&samples[5]), *other = parse(&samples[5]);
	must(run_passes(all, "add-dendrites{recipe=reference,count=2}"), "all");
	must(run_passes(one, "add-dendrites{recipe=reference,count=2,select=c}"), "one");
	ctx->seed = 1;
	must(run_passes(other, "add-dendrites{recipe=reference,count=2,select=c}"), "other");
	ctx->seed = 0;
	const char *name = "c.dendrite.1.weight";
	assert_true(pai_tensor_equal(parameter(all, name), parameter(one, name)));
	assert_false(pai_tensor_equal(parameter(other, name), parameter(one, name)));
	assert_false(pai_tensor_equal(parameter(one, "c.dendrite.0.weight"), parameter(one, name)));
	pai_model_free(all);
	pai_model_free(one);
	pai_model_free(other);
}

static void selection(void **state)
{
	(void)state;
	static const struct {
		const char *options;
		int combined; /* -1: an error */
	} rows[] = {{"recipe=reference,select=\"op:Conv\"", 2},
		    {"recipe=reference,select=\"op:Gemm,a\"", 3},
		    {"recipe=reference,exclude=\"y,op:Conv\"", 1},
		    {"recipe=block,select=y", 1},
		    {"recipe=block,select=c", 1},
		    {"recipe=block,select=a", -1},
		    {"recipe=reference,select=nothing", -1}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char text[160];
		pai_model *m = parse(&samples[5]);
		snprintf(text, sizeof text, "add-dendrites{%s}", rows[i].options);
		pai_status status = run_passes(m, text);
		if (rows[i].combined < 0) {
			assert_int_equal(status, PAI_USAGE);
			assert_int_equal(pai_diag_get(ctx, 0)->code, PAI_E_no_layer);
		} else {
			must(status, text);
			assert_int_equal(count_combined(m), rows[i].combined);
		}
		pai_model_free(m);
	}
	pai_model *m = parse(&samples[0]);
	assert_int_equal(run_passes(m, "add-dendrites{f=sigmoidd}"), PAI_USAGE);
	assert_int_equal(run_passes(m, "add-dendrites{count=0}"), PAI_USAGE);
	pai_model_free(m);
}

/* Transforms on weights do not hide a layer, and new weights can have transforms too. */
static void with_transforms(void **state)
{
	(void)state;
	pai_model *plain = parse(&samples[5]), *m = parse(&samples[5]);
	const char *rule = "add-transforms{rules=\"weights:deterministic_rounding{num_levels=9}\"}";
	must(run_passes(plain, rule), "rule");
	must(run_passes(m, rule), "rule");
	must(run_passes(m, "add-dendrites"), "block");
	assert_int_equal(count_combined(m), 2);
	assert_same(plain, m, PAI_REFERENCE);
	pai_model_free(m);
	m = parse(&samples[5]);
	must(run_passes(m, "add-dendrites"), "block");
	must(run_passes(m, rule), "rule");
	must(run_passes(m, "burn-in"), "burn-in");
	must(run_passes(plain, "burn-in"), "burn-in");
	assert_same(plain, m, PAI_REFERENCE);
	pai_model_free(m);
	pai_model_free(plain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(insertion_changes_nothing), cmocka_unit_test(parameters_and_names),
		cmocka_unit_test(weights_are_reproducible),  cmocka_unit_test(selection),
		cmocka_unit_test(with_transforms),
	};
	return cmocka_run_group_tests(tests, make_context, free_context);
}

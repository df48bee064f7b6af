/* test_transform_passes.c -- add-transforms, remove-transforms, burn-in and inline-functions on
 * small text models: what stands in the graph, and that outputs agree bit for bit. */
#include "tests/unit/context.h"
#include <unistd.h>

static const char mlp[] = "<ir_version: 8, opset_import: [\"\" : 17]>\n"
			  "g (float[N, 3] x) => (float[N, 2] y)\n"
			  "<float[3, 4] w1 = {0.26, -0.9, 0.11, 0.37, 0.5, -0.25, 0.77, -0.6, "
			  "0.05, 0.33, -0.41, 0.8},\n"
			  " float[4] b1 = {0.1, -0.2, 0.3, 0.05},\n"
			  " float[2, 4] w2 = {0.7, -0.3, 0.2, 0.9, -0.45, 0.65, 0.15, -0.85},\n"
			  " float[2] b2 = {0.01, -0.02}>\n"
			  "{ m = MatMul(x, w1)\n h = Add(m, b1)\n r = Relu(h)\n"
			  "  y = Gemm<transB = 1>(r, w2, b2) }";

/* One weight read by a layer, by a second layer through a Transpose, and inside a branch. */
static const char shared[] =
	"<ir_version: 8, opset_import: [\"\" : 17]>\n"
	"g (float[2, 3] x, bool c) => (float[2, 3] y)\n"
	"<float[3, 3] w = {0.26, -0.9, 0.11, 0.37, 0.5, -0.25, 0.77, -0.6, 0.05}>\n"
	"{ t = Transpose<perm = [1, 0]>(w)\n a = MatMul(x, w)\n b = MatMul(a, t)\n"
	"  y = If(c) <then_branch = th () => (float[2, 3] p) { p = MatMul(b, w) },\n"
	"             else_branch = el () => (float[2, 3] q) { q = Identity(b) }> }";

static pai_model *parse(const char *text)
{
	pai_model *m = model_of(text);
	assert_int_equal(pai_verify(m), PAI_OK);
	return m;
}

static void must_apply(pai_model *m, const char *passes)
{
	must(run_passes(m, passes), passes);
}

static void put(void *payload, const char *s, size_t n)
{
	char **at = payload;
	size_t used = *at ? strlen(*at) : 0;
	*at = realloc(*at, used + n + 1);
	memcpy(*at + used, s, n);
	(*at)[used + n] = 0;
}

static char *text_of(const pai_model *m)
{
	char *text = NULL;
	pai_text_print(m, 0, &text, put);
	return text;
}

static int count(const pai_model *m, const char *domain, const char *op)
{
	int n = 0;
	for (int i = 0; i < m->graph->nodes.n; i++)
		n += pai_node_is_in(m->graph->nodes.at[i], domain, op);
	return n;
}

/* Largest absolute difference over all outputs and three sets of inputs. */
static double difference(const pai_model *x, const pai_model *y)
{
	pai_arena *a = pai_arena_new(ctx);
	pai_plan_options o = {.backend = PAI_REFERENCE, .threads = 1};
	const pai_tensor **inputs[3];
	pai_difference *d;
	int n;
	double worst = 0;
	for (int i = 0; i < 3; i++)
		assert_int_equal(pai_random_inputs(ctx, a, x, (uint64_t)i, &inputs[i]), PAI_OK);
	pai_status status =
		pai_compare(ctx, a, x, y, &o, 3, (const pai_tensor *const *const *)inputs, &d, &n);
	for (int i = 0; status != PAI_OK && i < pai_diag_count(ctx); i++)
		print_error("%s\n", pai_diag_get(ctx, i)->text);
	assert_int_equal(status, PAI_OK);
	for (int i = 0; i < n; i++) {
		assert_false(d[i].shape || d[i].nan);
		worst = d[i].abs > worst ? d[i].abs : worst;
	}
	pai_arena_free(a);
	return worst;
}

static const char *const rules[] = {
	"weights:deterministic_rounding{num_levels=16}",
	"weights:deterministic_rounding{num_levels=15,compat=rockpool}",
	"weights:deterministic_rounding{num_levels=16,compat=rockpool,output_range=\\\"-0.9 "
	"1.1\\\"}",
	"weights:deterministic_rounding{num_levels=5,maintain_zero=0}",
	"weights:deterministic_rounding{num_levels=2}",
	"weights:deterministic_rounding{num_levels=9,input_range=\\\"-0.5 0.7\\\"}",
	"weights:int_quant{n_bits=4}",
	"weights:int_quant{n_bits=4,maintain_zero=0}",
	"weights:int_quant{n_bits=3,map_to_max=1}",
	"weights:int_quant{n_bits=4,compat=rockpool}",
	"weights:int_quant{n_bits=4,compat=rockpool,maintain_zero=0,map_to_max=1}",
	"biases:int_quant{n_bits=8},weights:deterministic_rounding{num_levels=255}",
};

static char *add(const char *rule)
{
	static char text[512];
	snprintf(text, sizeof text, "add-transforms{rules=\"%s\"}", rule);
	return text;
}

/* Insert, then: remove gives the text of the original; burn-in gives the same outputs from plain
 * weights; the body, inlined, gives the outputs of the kernel. */
static void insert_remove_burn_in(void **state)
{
	(void)state;
	pai_model *plain = parse(mlp);
	char *before = text_of(plain);
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
		pai_model *with = parse(mlp), *burned = parse(mlp), *inlined = parse(mlp);
		must_apply(with, add(rules[i]));
		must_apply(burned, add(rules[i]));
		must_apply(inlined, add(rules[i]));
		assert_true(difference(plain, with) > 0);
		must_apply(burned, "burn-in");
		assert_int_equal(burned->graph->nodes.n, plain->graph->nodes.n);
		assert_int_equal(burned->functions.n, 0);
		assert_int_equal(burned->n_opsets, 1);
		assert_true(difference(with, burned) == 0);
		must_apply(inlined, "inline-functions{transforms=true}");
		assert_int_equal(count(inlined, "pai", "*"), 0);
		assert_int_equal(inlined->functions.n, 0);
		if (difference(with, inlined) != 0)
			print_error("%s: body differs by %g\n", rules[i],
				    difference(with, inlined));
		assert_true(difference(with, inlined) == 0);
		must_apply(with, "remove-transforms");
		char *after = text_of(with);
		assert_string_equal(before, after);
		free(after);
		pai_model_free(with);
		pai_model_free(burned);
		pai_model_free(inlined);
	}
	free(before);
	pai_model_free(plain);
}

static void read_bytes(const char *path, pai_arena *a, pai_file *out)
{
	must(pai_file_open(ctx, a, path, out), path);
}

/* Insert, write, read, remove, write: the bytes of the original, also where the file changed its IR
 * version and where a loop reads the parameter. */
static void remove_restores_the_bytes(void **state)
{
	(void)state;
	static const char *const names[] = {"own_lenet_op9", "own_loop_if", "own_scan_rnn",
					    "own_functions"};
	char folder[] = "/tmp/pai-transforms-XXXXXX", original[256], with[64], without[64];
	assert_non_null(mkdtemp(folder));
	snprintf(with, sizeof with, "%s/with.onnx", folder);
	snprintf(without, sizeof without, "%s/without.onnx", folder);
	for (int i = 0; i < 4; i++) {
		bool none = i == 3; /* nothing to transform: bytes out equal bytes in */
		pai_arena *a = pai_arena_new(ctx);
		pai_file x, y;
		pai_model *m;
		snprintf(original, sizeof original, PAI_TEST_DATA "/models/%s.onnx", names[i]);
		must(pai_model_read(ctx, original, &m), original);
		must(pai_infer(m), original);
		if (!none)
			must_apply(m, add("weights:deterministic_rounding{num_levels=15}"));
		must(pai_model_write(m, with, NULL), with);
		pai_model_free(m);
		must(pai_model_read(ctx, with, &m), with);
		must(pai_infer(m), with);
		must_apply(m, "remove-transforms");
		must(pai_model_write(m, without, NULL), without);
		read_bytes(original, a, &x);
		read_bytes(without, a, &y);
		assert_int_equal(x.size, y.size);
		assert_memory_equal(x.data, y.data, x.size);
		pai_model_free(m);
		pai_arena_free(a);
	}
	unlink(with);
	unlink(without);
	rmdir(folder);
}

static void random_transforms(void **state)
{
	(void)state;
	static const char *const list[] = {
		"weights:stochastic_rounding{num_levels=5}",
		"weights:stochastic_rounding{num_levels=4,compat=rockpool}",
		"weights:dropout{prob=0.5}", "weights:dropout{prob=0.3,compat=rockpool}"};
	pai_model *plain = parse(mlp);
	char *before = text_of(plain);
	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		pai_model *m = parse(mlp), *inlined = parse(mlp);
		must_apply(m, add(list[i]));
		assert_int_equal(count(m, "", "RandomUniformLike"), 2);
		must_apply(inlined, add(list[i]));
		must_apply(inlined, "inline-functions{transforms=true}");
		assert_true(difference(m, inlined) ==
			    0); /* the same numbers: the same nodes draw */
		assert_int_equal(run_passes(m, "burn-in"), PAI_LIMIT);
		must_apply(inlined, "remove-transforms");
		must_apply(m, "burn-in{allow-stochastic=true}");
		assert_int_equal(m->graph->nodes.n, plain->graph->nodes.n);
		pai_model_free(m);
		m = parse(mlp);
		must_apply(m, add(list[i]));
		must_apply(m, "remove-transforms");
		char *after = text_of(m);
		assert_string_equal(before, after);
		free(after);
		pai_model_free(m);
		pai_model_free(inlined);
	}
	free(before);
	pai_model_free(plain);
}

static void one_node_for_a_shared_parameter(void **state)
{
	(void)state;
	pai_model *m = parse(shared), *burned = parse(shared);
	must_apply(m, add("weights:int_quant{n_bits=4}"));
	must_apply(burned, add("weights:int_quant{n_bits=4}"));
	assert_int_equal(count(m, "pai", "IntQuant"), 1);
	must_apply(burned, "burn-in");
	assert_int_equal(count(burned, "pai", "IntQuant"), 0);
	assert_true(difference(m, burned) == 0);
	must_apply(m, "remove-transforms");
	pai_model *plain = parse(shared);
	assert_true(difference(m, plain) == 0);
	pai_model_free(plain);
	pai_model_free(m);
	pai_model_free(burned);
}

static void chains(void **state)
{
	(void)state;
	pai_model *m = parse(mlp), *burned = parse(mlp);
	const char *text =
		"weights:int_quant{n_bits=4},"
		"weights:deterministic_rounding{num_levels=3,initializer=w1,compose=append}";
	must_apply(m, add(text));
	assert_int_equal(count(m, "pai", "IntQuant"), 2);
	assert_int_equal(count(m, "pai", "DeterministicRounding"), 1);
	must_apply(burned, add(text));
	must_apply(burned, "burn-in");
	assert_int_equal(burned->graph->nodes.n, 4);
	assert_true(difference(m, burned) == 0);
	/* the last rule that matches wins */
	pai_model *last = parse(mlp);
	must_apply(last, add("weights:int_quant,weights:dropout{initializer=w2}"));
	assert_int_equal(count(last, "pai", "IntQuant"), 1);
	assert_int_equal(count(last, "pai", "WeightDropout"), 1);
	/* a second insertion composes or is an error */
	assert_int_equal(run_passes(last, add("weights:int_quant")), PAI_USAGE);
	assert_int_equal(pai_diag_get(ctx, 0)->code, PAI_E_transform_exists);
	must_apply(last, add("weights:int_quant{compose=append}"));
	assert_int_equal(count(last, "pai", "IntQuant"), 3);
	must_apply(last, "remove-transforms");
	pai_model *plain = parse(mlp);
	assert_true(difference(last, plain) == 0);
	pai_model_free(plain);
	pai_model_free(last);
	pai_model_free(m);
	pai_model_free(burned);
}

/* Transforms of computed tensors: inserted, seen by no burn-in, removed to the original. */
static void activations(void **state)
{
	(void)state;
	pai_model *plain = parse(mlp), *m = parse(mlp), *inlined = parse(mlp);
	char *before = text_of(plain);
	const char *text = "activations:deterministic_rounding{op=Relu,num_levels=9},"
			   "activations:int_quant{node=y,n_bits=6}";
	must_apply(m, add(text));
	must_apply(inlined, add(text));
	assert_int_equal(count(m, "pai", "DeterministicRounding"), 1);
	assert_int_equal(count(m, "pai", "IntQuant"), 1);
	assert_string_equal(m->graph->outputs.at[0]->name, "y");
	assert_true(difference(plain, m) > 0);
	must_apply(m, "burn-in");
	assert_int_equal(count(m, "pai", "IntQuant"), 1);
	must_apply(inlined, "inline-functions{transforms=true}");
	assert_int_equal(inlined->functions.n, 0);
	assert_true(difference(m, inlined) == 0);
	assert_int_equal(run_passes(m, add("activations:int_quant{op=Relu}")), PAI_USAGE);
	must_apply(m, add("activations:dropout{op=Relu,compose=append}"));
	must_apply(m, "remove-transforms");
	char *after = text_of(m);
	assert_string_equal(before, after);
	free(before);
	free(after);
	pai_model_free(plain);
	pai_model_free(m);
	pai_model_free(inlined);
}

/* Rules from a file, and the lock file that says what they did. */
static void rules_from_a_file(void **state)
{
	(void)state;
	static const char json[] =
		"{\"rules\": [{\"match\": {\"family\": \"weights\", \"rank\": 2},"
		" \"transform\": {\"fn\": \"deterministic_rounding\", \"num_levels\": 7,"
		" \"output_range\": [-1, 1]}},"
		" {\"match\": {\"op_type\": \"Relu\"}, \"target\": \"activation\", \"output\": 0,"
		" \"transform\": {\"fn\": \"int_quant\", \"n_bits\": 5}}]}";
	char folder[] = "/tmp/pai-rules-XXXXXX", rules_path[64], lock[64], passes[256];
	assert_non_null(mkdtemp(folder));
	snprintf(rules_path, sizeof rules_path, "%s/rules.json", folder);
	snprintf(lock, sizeof lock, "%s/lock.json", folder);
	FILE *f = fopen(rules_path, "w");
	assert_non_null(f);
	fputs(json, f);
	fclose(f);
	pai_model *m = parse(mlp);
	snprintf(passes, sizeof passes, "add-transforms{rules=\"%s\",lock=\"%s\"}", rules_path,
		 lock);
	must_apply(m, passes);
	assert_int_equal(count(m, "pai", "DeterministicRounding"), 2);
	assert_int_equal(count(m, "pai", "IntQuant"), 1);
	pai_arena *a = pai_arena_new(ctx);
	pai_file file;
	read_bytes(lock, a, &file);
	const char *text = pai_arena_strndup(a, (const char *)file.data, file.size);
	assert_non_null(strstr(text, "\"w1\""));
	assert_non_null(strstr(text, "\"w2\""));
	assert_non_null(strstr(text, "\"activation\":\t\"r\""));
	pai_arena_free(a);
	pai_model_free(m);
	static const char *const bad[] = {
		"[{\"match\": {\"famly\": 1}, \"transform\": {\"fn\": \"int_quant\"}}]",
		"[{\"match\": [\"x\"], \"transform\": {\"fn\": \"int_quant\"}}]",
		"[[{\"fn\": \"int_quant\"}]]",
		"[{\"match\": {\"rank\": 1, \"rank\": 2}, \"transform\": {\"fn\": \"int_quant\"}}]",
		"[{\"transform\": {\"fn\": \"int_quant\", \"n_bits\": 4, \"n_bits\": 5}}]",
		"[{\"transform\": {\"fn\": \"int_quant\"}}] x",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		f = fopen(rules_path, "w");
		fputs(bad[i], f);
		fclose(f);
		m = parse(mlp);
		pai_diag_clear(ctx);
		if (run_passes(m, passes) != PAI_USAGE)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(pai_diag_get(ctx, 0)->code, PAI_E_bad_rule);
		pai_model_free(m);
	}
	unlink(rules_path);
	unlink(lock);
	rmdir(folder);
}

/* A parameter is what a rule selects: every reader of it reads the transform, so that weights that
 * are tied stay tied. */
static void readers_without_a_rule(void **state)
{
	(void)state;
	pai_model *m = parse(shared);
	must_apply(m, "add-transforms{rules=\"weights:int_quant{node=a}\"}");
	assert_int_equal(count(m, PAI_DOMAIN_TRANSFORM, "IntQuant"), 1);
	const pai_value *w = pai_graph_value(m->graph, "w");
	pai_arena *a = pai_arena_new(ctx);
	pai_uses *uses = pai_uses_new(a, m->graph);
	assert_int_equal(pai_uses_count(uses, w), 1);
	assert_int_equal(pai_uses_count(uses, pai_graph_value(m->graph, "w_int_quant")), 3);
	pai_arena_free(a);
	pai_model_free(m);
}

static char *contents_of(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 1 << 16);
	assert_non_null(f);
	assert_true(fread(text, 1, (1 << 16) - 1, f) > 0);
	fclose(f);
	return text;
}

static int occurrences(const char *text, const char *word)
{
	int n = 0;
	for (; (text = strstr(text, word)); text++)
		n++;
	return n;
}

/* The lock file lists what was applied, and the model is not touched by what was not. */
static void proposals_change_nothing(void **state)
{
	(void)state;
	char lock[] = "/tmp/pai-lock-XXXXXX", passes[256];
	close(mkstemp(lock));
	snprintf(passes, sizeof passes,
		 "add-transforms{rules=\"weights:int_quant,biases:int_quant\",lock=\"%s\"}", lock);
	for (int limit = 0; limit <= 5; limit++) {
		const pai_pipeline_options o = {.stop_after = limit};
		pai_model *m = parse(mlp);
		m->ir_version = 7;
		must(run_passes_with(m, passes, &o), passes);
		int n = limit < 4 ? limit : 4;
		assert_int_equal(count(m, PAI_DOMAIN_TRANSFORM, "IntQuant"), n);
		assert_int_equal(pai_graph_opset(m->graph, PAI_DOMAIN_TRANSFORM), n > 0);
		assert_int_equal(m->ir_version, n > 0 ? 8 : 7);
		assert_int_equal(m->functions.n, n > 0);
		char *text = limit ? contents_of(lock) : NULL; /* 0: no pass is called */
		assert_true(!text || occurrences(text, "\"initializer\"") == n);
		free(text);
		pai_model_free(m);
	}
	unlink(lock);
}

static void bad_rules(void **state)
{
	(void)state;
	static const struct {
		const char *model, *rule;
		pai_code code;
	} rows[] = {
		{mlp, "weights:int_quantt", PAI_E_bad_rule},
		{mlp, "wieghts:int_quant", PAI_E_bad_rule},
		{mlp, "weights:int_quant{bits=4}", PAI_E_bad_rule},
		{mlp, "weights:int_quant{n_bits=four}", PAI_E_bad_rule},
		{mlp, "weights:int_quant{target=state}", PAI_E_bad_rule},
		{mlp, "", PAI_E_bad_rule},
		{mlp, "weights:int_quant{initializer=nothing}", PAI_E_rule_unused},
		{mlp, "weights:int_quant,norm:int_quant", PAI_E_rule_unused},
		{shared, "weights:int_quant{node=a},weights:dropout{node=b}", PAI_E_rule_conflict},
		{mlp,
		 "weights:int_quant{initializer=w1},weights:int_quant{initializer=w2,compat="
		 "rockpool}",
		 PAI_E_transform_compat},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		pai_model *m = parse(rows[i].model);
		pai_status status = run_passes(m, add(rows[i].rule));
		if (status == PAI_OK)
			print_error("%s: no error\n", rows[i].rule);
		assert_int_not_equal(status, PAI_OK);
		assert_int_equal(pai_diag_get(ctx, 0)->code, rows[i].code);
		pai_model_free(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(insert_remove_burn_in),
		cmocka_unit_test(remove_restores_the_bytes),
		cmocka_unit_test(random_transforms),
		cmocka_unit_test(one_node_for_a_shared_parameter),
		cmocka_unit_test(chains),
		cmocka_unit_test(activations),
		cmocka_unit_test(rules_from_a_file),
		cmocka_unit_test(readers_without_a_rule),
		cmocka_unit_test(proposals_change_nothing),
		cmocka_unit_test(bad_rules),
	};
	return cmocka_run_group_tests(tests, make_context, free_context);
}

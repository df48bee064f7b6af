/* test_verify.c -- what the verifier refuses, each with its message; and models that must pass:
 * those of the folders that the environment variable PAI_MODELS names (separated by ':'), where it
 * is set.
 */
#include "compiler/compiler.h"
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct row {
	const char *name;
	int opset;
	const char *graph;
	const char *want; /* "ok", or "E0610 part of the message" of the first error */
} row;

static pai_model *parse(pai_ctx *ctx, int opset, const char *graph)
{
	pai_model *m = NULL;
	char text[4096];
	snprintf(text, sizeof text,
		 "<ir_version: 10, opset_import: [\"\" : %d, \"local\" : 1]>\n%s", opset, graph);
	pai_status status = pai_text_parse(ctx, "text", text, strlen(text), &m);
	if (status != PAI_OK)
		print_error("%s\n%s\n", graph, pai_diag_get(ctx, 0)->text);
	assert_int_equal(status, PAI_OK);
	return m;
}

static bool check(const row *r)
{
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = parse(ctx, r->opset, r->graph);
	pai_status status = pai_verify(m);
	char got[1024] = "ok";
	if (status != PAI_OK)
		snprintf(got, sizeof got, "E%04d %s: %s", pai_diag_get(ctx, 0)->code,
			 pai_diag_get(ctx, 0)->where, pai_diag_get(ctx, 0)->text);
	const bool fit = r->want[0] == 'E'
				 ? strncmp(got, r->want, 5) == 0 && strstr(got, r->want + 6)
				 : strcmp(got, r->want) == 0;
	if (!fit)
		print_error("%s: want %s\n  got %s\n", r->name, r->want, got);
	pai_model_free(m);
	pai_ctx_free(ctx);
	return fit;
}

static void test_rows(void **state)
{
	static const row rows[] = {
		{"fine", 21, "g (float[N] x) => (float[N] y) { y = Relu(x) }", "ok"},
		{"other domains", 21,
		 "g (float[N] x) => (float[N] y) { y = local.Any <k = 1> (x, x) }", "ok"},
		{"domain", 21, "g (float[N] x) => (float[N] y) { y = away.Any(x) }",
		 "E0617 (away.Any): its domain \"away\" is not imported"},
		{"spelling", 21, "g (float[N] x) => (float[N] y) { y = Relo(x) }",
		 "E0614 there is no operator \"Relo\"; the nearest is \"Relu\" of opset 14"},
		{"no such thing", 21,
		 "g (float[N] x) => (float[N] y) { y = Xyzzyplughfrobnicate(x) }",
		 "E0614 there is no operator \"Xyzzyplughfrobnicate\""},
		{"too new", 11, "g (float[N] x) => (float[N] y) { y = HardSwish(x) }",
		 "E0614 \"HardSwish\" exists from opset 14 on, the model imports 11"},
		{"removed", 13,
		 "g (float[1,1,2,2] x, float[4] s) => (float[1,1,4,4] y) { y = Upsample(x, s) }",
		 "E0614 the operator was removed in opset 10, the model imports 13"},
		{"too few inputs", 21, "g (float[N] x) => (float[N] y) { y = Add(x) }",
		 "E0613 (Add): input 1: \"B\" is required"},
		{"omitted input", 21, "g (float[N] x) => (float[N] y) { y = Add(x, ) }",
		 "E0613 (Add): input 1: \"B\" is required"},
		{"empty list of inputs", 21, "g () => (float[N] y) { y = Max() }",
		 "E0613 (Max): input 0: \"data_0\" is required"},
		{"omitted in a list", 21,
		 "g (float[N] x) => (float[N] y) { y = Concat <axis = 0> (x, , x) }",
		 "E0613 (Concat): input 1: \"inputs\" is required"},
		{"no such choice", 21,
		 "g (float[N] x) => (float[N] y) { y = Gelu <approximate = \"erf\"> (x) }",
		 "E0615 attribute \"approximate\": is \"erf\", must be one of none|tanh"},
		{"part of a choice", 21,
		 "g (float[N] x) => (float[N] y) { y = Gelu <approximate = \"tan\"> (x) }",
		 "E0615 attribute \"approximate\": is \"tan\", must be one of none|tanh"},
		{"too many inputs", 21, "g (float[N] x) => (float[N] y) { y = Relu(x, x) }",
		 "E0613 has 2 inputs, takes 1"},
		{"too many outputs", 21, "g (float[N] x) => (float[N] y) { y, z = Relu(x) }",
		 "E0613 has 2 outputs, gives 1"},
		{"unknown attribute", 21,
		 "g (float[N] x) => (float[N] y) { y = Softmax <axes = 1> (x) }",
		 "E0615 attribute \"axes\": is unknown to version 13 of the operator; did you "
		 "mean axis?"},
		{"attribute type", 21,
		 "g (float[N] x) => (float[N] y) { y = Softmax <axis = [1]> (x) }",
		 "E0615 attribute \"axis\": is a list of integers, must be an integer"},
		{"missing attribute", 21, "g (float[N] x) => (float[N] y) { y = Concat(x) }",
		 "E0615 attribute \"axis\": is required"},
		{"attribute twice", 21,
		 "g (float[N] x) => (float[N] y) { y = Softmax <axis = 1, axis = 0> (x) }",
		 "E0620 attribute \"axis\": is given twice"},
		{"element type", 21, "g (int64[N] x) => (int64[N] y) { y = Sigmoid(x) }",
		 "E0616 input 0 \"x\": is of int64[N], which version 13 of the operator does not "
		 "take"},
		{"two element types", 21,
		 "g (float[N] x, int64[N] z) => (float[N] y) { y = Add(x, z) }",
		 "E0616 input 1 \"z\": is of int64, but input 0 of the same type \"T\" is of "
		 "float"},
		{"element type by name", 21,
		 "g (float[N] x) => (float[N] y) { s = Shape(x) y = Reshape(x, x) }",
		 "E0616 input 1 \"x\": is of type FLOAT, must be INT64"},
		{"later node", 21, "g (float[N] x) => (float[N] y) { y = Relu(z) z = Relu(x) }",
		 "E0611 input 0 \"z\": is made by a later node, \"z\""},
		{"cycle", 21, "g (float[N] x) => (float[N] y) { z = Add(x, y) y = Relu(z) }",
		 "E0611 input 1 \"y\": is made by a later node, \"y\""},
		{"dangling", 21, "g (float[N] x) => (float[N] y) { y = Add(x, z) }",
		 "E0612 input 1 \"z\": nothing in reach gives this value"},
		{"output without source", 21, "g (float[N] x) => (float[N] y) { z = Relu(x) }",
		 "E0612 \"y\": nothing gives this output of graph \"g\""},
		{"inner values stay inside", 21,
		 "g (bool c, float[N] x) => (float[N] y) { z = If <"
		 "then_branch = t () => (a) { a = Relu(x) }, else_branch = e () => (b) { b = "
		 "Relu(x) }> (c) "
		 "y = Relu(a) }",
		 "E0612 input 0 \"a\": nothing in reach gives this value"},
		{"branch outputs", 21,
		 "g (bool c, float[N] x) => (float[N] y) { y = If <"
		 "then_branch = t () => (a) { a = Relu(x) }, else_branch = e () => (b, d) { b = "
		 "Relu(x) "
		 "d = Relu(b) }> (c) }",
		 "E0621 attribute \"else_branch\": the graph has 2 outputs, needs 1"},
		{"loop inputs", 21,
		 "g (int64 n, bool c, float[N] x) => (float[N] y) { y = Loop <"
		 "body = b (int64 i, bool k) => (k2, a2) { k2 = Identity(k) a2 = Relu(x) }> (n, c, "
		 "x) }",
		 "E0621 attribute \"body\": the graph has 2 inputs, needs 3"},
		{"recursion", 21,
		 "g (float[N] x) => (float[N] y) { y = local.f(x) } "
		 "<domain: \"local\", opset_import: [\"\" : 21, \"local\" : 1]> f (a) => (c) { c = "
		 "local.h(a) } "
		 "<domain: \"local\", opset_import: [\"\" : 21, \"local\" : 1]> h (a) => (c) { c = "
		 "local.f(a) }",
		 "E0619 the function calls itself, directly or through others"},
		{"inside a function", 21,
		 "g (float[N] x) => (float[N] y) { y = local.f(x) } "
		 "<domain: \"local\", opset_import: [\"\" : 21]> f (a) => (c) { c = Relu(d) }",
		 "E0612 input 0 \"d\": nothing in reach gives this value"},
		{"function attribute", 21,
		 "g (float[N] x) => (float[N] y) { y = local.f(x) } "
		 "<domain: \"local\", opset_import: [\"\" : 21]> f <k> (a) => (c) "
		 "{ c = Softmax <axis : int = @j> (a) }",
		 "E0615 stands for the attribute \"j\", which the function does not have"},
	};
	int wrong = 0;
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		wrong += !check(&rows[i]);
	assert_int_equal(wrong, 0);
}

/* Two nodes that write one value, which no reader produces. */
static void test_single_assignment(void **state)
{
	(void)state;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = parse(ctx, 21, "g (float[N] x) => (float[N] y) { y = Relu(x) }");
	pai_node *n = pai_graph_add_node(m->graph, "", "Relu", 1, 1);
	n->in[0] = m->graph->inputs.at[0];
	n->out[0] = m->graph->outputs.at[0];
	assert_int_equal(pai_verify(m), PAI_INVALID);
	assert_int_equal(pai_diag_get(ctx, 0)->code, PAI_E_not_ssa);
	pai_model_free(m);
	pai_ctx_free(ctx);
}

static void test_at_most_twenty(void **state)
{
	(void)state;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = parse(ctx, 21, "g (float[N] x) => (float[N] y) { y = Relu(x) }");
	for (int i = 0; i < 30; i++)
		(void)pai_graph_add_node(m->graph, "", "Relu", 1, 1);
	assert_int_equal(pai_verify(m), PAI_INVALID);
	assert_int_equal(pai_diag_count(ctx), 20);
	pai_model_free(m);
	pai_ctx_free(ctx);
}

static int passed, failed;

static int visit(const char *path, const struct stat *st, int type, struct FTW *at)
{
	const char *end = strrchr(path, '.');
	(void)st, (void)at;
	if (type != FTW_F || !end || strcmp(end, ".onnx") != 0)
		return 0;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = NULL;
	pai_status status = pai_model_read(ctx, path, &m);
	if (status == PAI_OK)
		status = pai_infer(m);
	if (status == PAI_OK)
		status = pai_verify(m);
	if (status != PAI_OK && pai_diag_count(ctx))
		print_error("%s: %s: %s\n", path, pai_diag_get(ctx, 0)->where,
			    pai_diag_get(ctx, 0)->text);
	*(status == PAI_OK ? &passed : &failed) += 1;
	pai_model_free(m);
	pai_ctx_free(ctx);
	return 0;
}

static void test_folders(void **state)
{
	const char *more = getenv("PAI_MODELS");
	char *list = NULL, *folder;
	(void)state;
	assert_true(asprintf(&list, "%s/models%s%s", PAI_TEST_DATA, more ? ":" : "",
			     more ? more : "") > 0);
	for (char *rest = list; (folder = strsep(&rest, ":"));)
		assert_int_equal(nftw(folder, visit, 16, 0), 0);
	free(list);
	print_message("%d models pass, %d fail\n", passed, failed);
	assert_true(passed > 0);
	assert_int_equal(failed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_single_assignment),
		cmocka_unit_test(test_at_most_twenty),
		cmocka_unit_test(test_folders),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

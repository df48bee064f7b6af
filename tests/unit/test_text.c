/* test_text.c -- the text form: what is printed reads back equal, wrong text is refused where it is
 * wrong, and no bytes make the reader crash.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "compiler/text.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct bytes {
	char *s;
	size_t n, cap;
} bytes;

static void put(void *payload, const char *s, size_t n)
{
	bytes *b = payload;
	if (b->n + n + 1 > b->cap) {
		b->cap = 2 * (b->n + n + 1);
		b->s = realloc(b->s, b->cap);
		assert_non_null(b->s);
	}
	memcpy(b->s + b->n, s, n);
	b->n += n;
	b->s[b->n] = 0;
}

static bytes slurp(const char *path)
{
	bytes b = {0};
	char buf[4096];
	FILE *f = fopen(path, "rb");
	if (!f)
		fail_msg("%s", path);
	for (size_t n; (n = fread(buf, 1, sizeof buf, f)) > 0;)
		put(&b, buf, n);
	fclose(f);
	return b;
}

static bytes printed(const pai_model *m)
{
	bytes b = {0};
	put(&b, "", 0);
	pai_text_print(m, 0, &b, put);
	return b;
}

static int setup(void **state)
{
	*state = pai_ctx_new(NULL);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	pai_ctx_free(*state);
	return 0;
}

static const char head[] = "<ir_version: 8, opset_import: [\"\" : 17]>\n";

/* Model from head and a graph. */
static pai_status parse(pai_ctx *ctx, const char *graph, pai_model **out)
{
	static char text[1 << 16];
	snprintf(text, sizeof text, "%s%s", head, graph);
	pai_diag_clear(ctx);
	return pai_text_parse(ctx, "t", text, strlen(text), out);
}

static void test_everything(void **state)
{
	pai_ctx *ctx = *state;
	pai_model *m, *again;
	bytes text = slurp(PAI_TEST_DATA "/text/everything.onnxtxt");
	bytes golden = slurp(PAI_TEST_DATA "/text/everything.printed.onnxtxt");
	assert_int_equal(pai_text_parse(ctx, "a", text.s, text.n, &m), PAI_OK);
	bytes once = printed(m);
	assert_string_equal(once.s, golden.s);
	assert_int_equal(pai_text_parse(ctx, "b", once.s, once.n, &again), PAI_OK);
	bytes twice = printed(again);
	assert_string_equal(once.s, twice.s);
	pai_model_free(m);
	pai_model_free(again);
	free(text.s);
	free(golden.s);
	free(once.s);
	free(twice.s);
}

static void test_structure(void **state)
{
	pai_model *m;
	pai_status status = parse(*state,
				  "g (float[N] x, bool c) => (float[N] y) <float[1] w = {2}>\n"
				  "{ a = Relu(x) y = If (c) <then_branch = t () => (float[N] p) "
				  "{ p = Mul(a, w) }, else_branch = e () => (x) {}> }",
				  &m);
	assert_int_equal(status, PAI_OK);
	pai_graph *g = m->graph;
	assert_int_equal(g->nodes.n, 2);
	assert_int_equal(g->inputs.n, 2);
	assert_int_equal(g->inits.n, 1);
	assert_true(g->outputs.at[0]->producer == g->nodes.at[1]);
	const pai_graph *then_graph = pai_node_attr(g->nodes.at[1], "then_branch")->g;
	assert_true(then_graph->outer == g && then_graph->owner == g->nodes.at[1]);
	/* names of the outer graph */
	assert_true(then_graph->nodes.at[0]->in[0] == g->nodes.at[0]->out[0]);
	assert_true(then_graph->nodes.at[0]->in[1] == g->inits.at[0]);
	const pai_graph *else_graph = pai_node_attr(g->nodes.at[1], "else_branch")->g;
	assert_true(else_graph->outputs.at[0] == g->inputs.at[0]);
	assert_non_null(g->nodes.at[0]->op);
	pai_model_free(m);
}

static void test_operands(void **state)
{
	static const struct {
		const char *operands;
		int n;
		int given; /* bits */
	} cases[] = {
		{"", 0, 0},        {"x", 1, 1},
		{"x,", 1, 1},      {",", 1, 0},
		{"\"\"", 1, 0},    {",x", 2, 2},
		{"x,,x", 3, 5},    {"\"\", x", 2, 2},
		{"x, \"\"", 2, 1}, {"\"x\", \"\",", 2, 1},
		{",,x", 3, 4},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char text[200];
		pai_model *m;
		snprintf(text, sizeof text, "g (float[N] x) => (y) { y = Op(%s) }",
			 cases[i].operands);
		assert_int_equal(parse(*state, text, &m), PAI_OK);
		const pai_node *n = m->graph->nodes.at[0];
		assert_int_equal(n->n_in, cases[i].n);
		for (int k = 0; k < n->n_in; k++)
			assert_int_equal(n->in[k] != NULL, cases[i].given >> k & 1);
		pai_model_free(m);
	}
}

/* Initialisers: two spellings of the same contents, and their bytes. */
static void test_tensors(void **state)
{
	static const struct {
		const char *type, *entries, *same;
		size_t n;
		const char *data;
	} cases[] = {
		{"int4[3]", "1,-2,7", "225,7", 2, "\xe1\x07"},
		{"int4[1]", "-1", "15", 1, "\x0f"},
		{"uint4[2]", "15,1", "31", 1, "\x1f"},
		{"int2[5]", "1,-2,0,-1,1", "201,1", 2, "\xc9\x01"},
		{"uint2[4]", "3,2,1,0", "27", 1, "\x1b"},
		{"float4e2m1[2]", "1,15", "241", 1, "\xf1"},
		{"float16[1]", "15360", "15360", 2, "\x00\x3c"},
		{"bool[2]", "1,0", "1, 0", 2, "\x01\x00"},
		{"int8[2]", "-128,127", "-128 , 127", 2, "\x80\x7f"},
		{"float", "1", "1.0e0", 4, "\x00\x00\x80\x3f"},
		{"float[1]", "-0", "-0.0", 4, "\x00\x00\x00\x80"},
		{"float[1]", "NaN", "nan", 4, "\x00\x00\xc0\x7f"},
		{"float[1]", "-Infinity", "-inf", 4, "\x00\x00\x80\xff"},
		{"float[1]", "nan #@ bits 0x7f800001\n", "nan#@ bits 0x7f800001\n", 4,
		 "\x01\x00\x80\x7f"},
		{"double[1]", "0.1", "1e-1", 8, "\x9a\x99\x99\x99\x99\x99\xb9\x3f"},
		{"complex64", "1,-1", "1.0,-1.", 8, "\x00\x00\x80\x3f\x00\x00\x80\xbf"},
		{"uint64[1]", "18446744073709551615", "18446744073709551615", 8,
		 "\xff\xff\xff\xff\xff\xff\xff\xff"},
		{"int32[2,2]", "", "0,0,0,0", 16, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char text[300];
		pai_model *m;
		snprintf(text, sizeof text, "g () => () <%s a = {%s}, %s b = {%s}> {}",
			 cases[i].type, cases[i].entries, cases[i].type, cases[i].same);
		assert_int_equal(parse(*state, text, &m), PAI_OK);
		const pai_tensor *a = m->graph->inits.at[0]->init, *b = m->graph->inits.at[1]->init;
		assert_int_equal(a->nbytes, cases[i].n);
		assert_memory_equal(a->data, cases[i].data, a->nbytes);
		assert_true(pai_tensor_equal(a, b));
		pai_model_free(m);
	}
}

/* What is wrong, where, and the code. Lines count the head. */
static const struct bad {
	const char *graph;
	pai_code code;
	const char *where, *message;
} bad[] = {
	{"", PAI_E_text_syntax, "line 2, column 1", "expected an identifier, found the end"},
	{"g", PAI_E_text_syntax, "line 2, column 2", "expected '(', found the end"},
	{"g (", PAI_E_text_syntax, "line 2, column 4", "found the end"},
	{"g (x", PAI_E_text_syntax, "line 2, column 5", "expected ')', found the end"},
	{"g (x y) => () {}", PAI_E_text_syntax, "line 2, column 6", "expected ')', found 'y'"},
	{"g () = > () {}", PAI_E_text_syntax, "line 2, column 6", "expected =>, found '='"},
	{"g () => ()", PAI_E_text_syntax, "line 2, column 11", "expected '{'"},
	{"g () => () {", PAI_E_text_syntax, "line 2, column 13", "found the end"},
	{"g () => () {}\n}", PAI_E_text_syntax, "line 3, column 1", "found '}'"},
	{"g (float[] x = {}) => () {}", PAI_E_text_type, NULL, "all its sizes"},
	{"g (float[N] x = {}) => () {}", PAI_E_text_type, NULL, "numbers for all its sizes"},
	{"g (x = {}) => () {}", PAI_E_text_type, NULL, "needs an element type"},
	{"g (seq(float) x = {}) => () {}", PAI_E_text_type, NULL, "needs an element type"},
	{"g (float[2 x) => () {}", PAI_E_text_syntax, "line 2, column 12", "expected ']'"},
	{"g (float[2.5] x) => () {}", PAI_E_text_number, "line 2, column 10", "an integer"},
	{"g (float[99999999999999999999] x) => () {}", PAI_E_text_number, NULL, "64 bits"},
	{"g (seq(flaot) x) => () {}", PAI_E_text_syntax, "line 2, column 8", "expected a type"},
	{"g (map(float[2], float) x) => () {}", PAI_E_text_syntax, NULL, "expected ','"},
	{"g (opaque(a.b) x) => () {}", PAI_E_text_unsupported, NULL, "opaque"},
	{"g (float x, float x) => () {}", PAI_E_text_name, NULL, "\"x\" is defined twice"},
	{"g () => () <float a = {1}, float a = {1}> {}", PAI_E_text_name, NULL, "twice"},
	{"g (x) => () { x = Op() }", PAI_E_text_name, NULL, "\"x\" is defined twice"},
	{"g () => () { a = Op() a = Op() }", PAI_E_text_name, "line 2, column 32", "twice"},
	{"g () => () <float[2] a = {1}> {}", PAI_E_text_count, NULL, "fewer entries|1 entries"},
	{"g () => () <float[2] a = {1,2,3}> {}", PAI_E_text_count, NULL, "more than the 2"},
	{"g () => () <float a = {1,}> {}", PAI_E_text_count, NULL, "more than the 1"},
	{"g () => () <float[2] a = {1,}> {}", PAI_E_text_syntax, NULL, "expected a number"},
	{"g () => () <float[0] a = {1}> {}", PAI_E_text_count, NULL, "more than the 0"},
	{"g () => () <float[1000000000] a = {1}> {}", PAI_E_text_count, NULL, "fewer entries"},
	{"g () => () <float[1000000000] a = {}> {}", PAI_E_limit, NULL, "written as {}"},
	{"g () => () <float[4000000000,4000000000,9] a = {}> {}", PAI_E_text_type, NULL, "large"},
	{"g () => () <int4[4] a = {1,2,3}> {}", PAI_E_text_count, NULL, "3 entries"},
	{"g () => () <int4[4] a = {1,2,3,16}> {}", PAI_E_text_number, NULL, "16 does not fit"},
	{"g () => () <int4[4] a = {1,300}> {}", PAI_E_text_number, NULL, "300 does not fit"},
	{"g () => () <int8 a = {128}> {}", PAI_E_text_number, NULL, "128 does not fit in int8"},
	{"g () => () <uint8 a = {-1}> {}", PAI_E_text_number, NULL, "-1 does not fit in uint8"},
	{"g () => () <bool a = {2}> {}", PAI_E_text_number, NULL, "2 is no bool"},
	{"g () => () <bool a = {true}> {}", PAI_E_text_syntax, NULL, "expected a number"},
	{"g () => () <float16 a = {1.0}> {}", PAI_E_text_number, NULL, "by its bits"},
	{"g () => () <int64 a = {9223372036854775808}> {}", PAI_E_text_number, NULL, "64 bits"},
	{"g () => () <int64 a = {1.0}> {}", PAI_E_text_number, NULL, "expected an integer"},
	{"g () => () <float a = {1e39}> {}", PAI_E_text_number, NULL, "too large for float"},
	{"g () => () <float a = {1e}> {}", PAI_E_text_number, NULL, "exponent has no digits"},
	{"g () => () <float a = {0x10}> {}", PAI_E_text_syntax, NULL, "expected '}', found 'x10'"},
	{"g () => () <float a = {\"1\"}> {}", PAI_E_text_syntax, NULL, "expected a number"},
	{"g () => () <string a = {1}> {}", PAI_E_text_syntax, NULL, "expected a string"},
	{"g () => () <string[2] a = {}> {}", PAI_E_text_count, NULL, "0 entries"},
	{"g () => () <float a = [1]> {}", PAI_E_text_syntax, NULL, "expected a string"},
	{"g () => () <float \"\" = {1}> {}", PAI_E_text_name, NULL, "needs a name"},
	{"g () => () { a = }", PAI_E_text_syntax, "line 2, column 18", "expected an identifier"},
	{"g () => () { a Op() }", PAI_E_text_syntax, NULL, "expected '='"},
	{"g () => () { = Op }", PAI_E_text_syntax, NULL, "expected '('"},
	{"g () => () { = a.Op() = . () }", PAI_E_text_syntax, NULL, "an identifier, found '.'"},
	{"g () => () { [n = Op() }", PAI_E_text_syntax, NULL, "expected ']'"},
	{"g () => () { = Op <> () }", PAI_E_text_syntax, NULL, "an identifier"},
	{"g () => () { = Op <k> () }", PAI_E_text_syntax, NULL, "expected '='"},
	{"g () => () { = Op <k: nit = 1> () }", PAI_E_text_syntax, NULL, "an attribute type"},
	{"g () => () { = Op <k: int = 1.5> () }", PAI_E_text_attribute, NULL, "value is float"},
	{"g () => () { = Op <k: int = \"s\"> () }", PAI_E_text_attribute, NULL, "is string"},
	{"g () => () { = Op <k: float = [1]> () }", PAI_E_text_attribute, NULL, "type is float"},
	{"g () => () { = Op <k = []> () }", PAI_E_text_attribute, NULL, "needs a type"},
	{"g () => () { = Op <k = [1, 2.0]> () }", PAI_E_text_attribute, NULL, "mixes"},
	{"g () => () { = Op <k = [@a]> () }", PAI_E_text_attribute, NULL, "mixes"},
	{"g () => () { = Op <k = [float]> () }", PAI_E_text_attribute, NULL, "a list of these"},
	{"g () => () { = Op <k = ?> () }", PAI_E_text_syntax, NULL, "an attribute value"},
	{"g () => () { = Op <k: graph = 1> () }", PAI_E_text_syntax, NULL, "an identifier"},
	{"g () => () { = Op(\"abc) }", PAI_E_text_syntax, "line 2, column 19", "has no end"},
	{"g () => () { = Op(\"abc\\", PAI_E_text_syntax, NULL, "has no end"},
	{"g () => () { = Op(\x01) }", PAI_E_text_syntax, NULL, "found byte 0x01"},
	{"g () => () {} <domian: \"a\"> f () => () {}", PAI_E_text_syntax, NULL, "no field"},
	{"g () => () {} <domain: \"a\"> f (float x = {1}) => () {}", PAI_E_text_syntax, NULL,
	 "')'"},
	{"g () => () {} f () => () {} f () => () {}", PAI_E_text_name, NULL,
	 "\"f\" is defined twice"},
	{"g () => () {} f (x, x) => () {}", PAI_E_text_name, NULL, "\"x\" is defined twice"},
	{"g () => () { #@ node k: \"\"\n = Op() }", PAI_E_text_annotation, "line 2, column 23",
	 "a node has no \"k\""},
	{"g () => () { #@ nude k: \"\"\n = Op() }", PAI_E_text_annotation, NULL, "\"nude\""},
	{"g () => () { #@ node metadata_props: []\n }", PAI_E_text_annotation, NULL,
	 "no node follows"},
	{"g () => () { #@ node metadata_props: [\"a\"]\n = Op() }", PAI_E_text_syntax, NULL, "':'"},
	{"g () => () { #@ node metadata_props: [] 1\n = Op() }", PAI_E_text_syntax, NULL,
	 "the end of the line"},
	{"g () => () { #@ node rest: \"0g\"\n = Op() }", PAI_E_text_annotation, NULL, "not in hex"},
	{"g () => () { #@ init w doc_string: \"\"\n }", PAI_E_text_annotation, NULL, "no init"},
	{"g () => () { #@ attr a doc_string: \"\"\n = Op() }", PAI_E_text_annotation, NULL,
	 "no attribute \"a\""},
	{"g () => () { #@ function metadata_props: []\n }", PAI_E_text_annotation, NULL,
	 "function"},
	{"g () => () {}\n#@ node doc_string: \"\"", PAI_E_text_annotation, NULL, "nothing to say"},
};

static bool is_any_of(const char *text, const char *wanted)
{
	char one[100];
	snprintf(one, sizeof one, "%s", wanted);
	for (char *s = strtok(one, "|"); s; s = strtok(NULL, "|"))
		if (strstr(text, s))
			return true;
	return false;
}

static void test_bad(void **state)
{
	pai_ctx *ctx = *state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		pai_model *m;
		pai_status status = parse(ctx, bad[i].graph, &m);
		if (status == PAI_OK)
			fail_msg("accepted: %s", bad[i].graph);
		const pai_diag *d = pai_diag_get(ctx, 0);
		if (d->code != bad[i].code || !is_any_of(d->text, bad[i].message) ||
		    (bad[i].where && !strstr(d->where, bad[i].where)) || d->byte < 0)
			fail_msg("%s: %d %s: %s", bad[i].graph, (int)d->code, d->where, d->text);
		assert_int_equal(status, d->code == PAI_E_limit ? PAI_LIMIT : PAI_INVALID);
	}
}

/* Nesting of subgraphs and of types ends in a limit, not in the stack. */
static void test_depth(void **state)
{
	static const char *const parts[][3] = {
		{"g () => () {", " = Op() <b = g () => () {", "nested subgraphs"},
		{"g (", "seq(", "nested types"},
		{"g () => () { = Op <t = ", "optional(", "nested types"},
	};
	for (size_t i = 0; i < 3; i++) {
		pai_model *m;
		bytes text = {0};
		put(&text, head, strlen(head));
		put(&text, parts[i][0], strlen(parts[i][0]));
		for (int k = 0; k < 100000; k++)
			put(&text, parts[i][1], strlen(parts[i][1]));
		pai_diag_clear(*state);
		assert_int_equal(pai_text_parse(*state, "t", text.s, text.n, &m), PAI_LIMIT);
		assert_non_null(strstr(pai_diag_get(*state, 0)->text, parts[i][2]));
		free(text.s);
	}
}

/* Every beginning of a text, each in memory of its own so that a read beyond it is seen. */
static void test_cut(void **state)
{
	pai_ctx *ctx = *state;
	bytes text = slurp(PAI_TEST_DATA "/text/everything.onnxtxt");
	int read = 0;
	for (size_t n = 0; n < text.n; n++) {
		pai_model *m;
		char *part = malloc(n + !n);
		assert_non_null(part);
		memcpy(part, text.s, n);
		pai_diag_clear(ctx);
		pai_status status = pai_text_parse(ctx, "t", part, n, &m);
		if (status == PAI_OK) {
			read++;
			pai_model_free(m);
		} else {
			assert_int_equal(status, PAI_INVALID);
			assert_int_equal(pai_diag_count(ctx), 1);
		}
		free(part);
	}
	assert_in_range(read, 1, 100); /* after the graph, after each function */
	free(text.s);
}

static uint64_t next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Bytes changed, doubled and taken out; what is still read must print to a fixed point. */
static void test_mutations(void **state)
{
	static const char alphabet[] = "{}()[]<>,:=.\"\\#@?-0129aeN_ \n\xff\0";
	pai_ctx *ctx = *state;
	bytes text = slurp(PAI_TEST_DATA "/text/everything.onnxtxt");
	uint64_t seed = 88172645463325252u;
	for (int round = 0; round < 3000; round++) {
		char *s = malloc(text.n);
		assert_non_null(s);
		memcpy(s, text.s, text.n);
		for (int k = 0; k < 1 + round % 4; k++) {
			size_t to = next(&seed) % text.n, from = next(&seed) % text.n;
			size_t n = next(&seed) % 40;
			n = n > text.n - to ? text.n - to : n;
			n = n > text.n - from ? text.n - from : n;
			if (next(&seed) % 2)
				s[to] = alphabet[next(&seed) % (sizeof alphabet - 1)];
			else
				memmove(s + to, s + from, n);
		}
		pai_model *m, *again;
		pai_diag_clear(ctx);
		pai_status status = pai_text_parse(ctx, "t", s, text.n, &m);
		assert_true(status == PAI_OK || status == PAI_INVALID || status == PAI_LIMIT);
		if (status == PAI_OK) {
			bytes once = printed(m);
			pai_diag_clear(ctx);
			if (pai_text_parse(ctx, "t", once.s, once.n, &again) != PAI_OK)
				fail_msg("%s\n%s", pai_diag_get(ctx, 0)->text, once.s);
			bytes twice = printed(again);
			assert_string_equal(once.s, twice.s);
			free(once.s);
			free(twice.s);
			pai_model_free(m);
			pai_model_free(again);
		}
		free(s);
	}
	free(text.s);
}

static void test_numbers(void **state)
{
	static const struct {
		float v;
		const char *text;
	} cases[] = {
		{0, "0"},
		{-0.0f, "-0.0"},
		{1, "1"},
		{-2.5f, "-2.5"},
		{0.1f, "0.1"},
		{1e-5f, "1e-05"},
		{1e-4f, "1e-04"},
		{0.001f, "0.001"},
		{1.5e-4f, "0.00015"},
		{16777216, "16777216"},
		{1e7f, "1e+07"},
		{99999, "99999"},
		{1e5f, "1e+05"},
		{123456.789f, "123456.79"},
		{3.4028235e38f, "3.4028235e+38"},
		{1.17549435e-38f, "1.1754944e-38"},
		{1.4e-45f, "1e-45"},
		{INFINITY, "inf"},
		{-INFINITY, "-inf"},
		{NAN, "nan"},
		{3.14159274f, "3.1415927"},
		{9.999999e9f, "9999999000"},
		{100, "100"},
	};
	char buf[TEXT_NUMBER], fewer[TEXT_NUMBER];
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		buf[text_from_float(buf, cases[i].v)] = 0;
		assert_string_equal(buf, cases[i].text);
	}
	uint64_t seed = 12345678910111213u;
	for (int i = 0; i < 200000; i++) { /* any bits: reads back; one digit less would not */
		uint64_t bits = next(&seed);
		uint32_t low = (uint32_t)(bits >> 13);
		float f = i % 2 ? (float)(int32_t)low / 2147483648.0f : 0, g;
		double d, e;
		if (!(i % 2))
			memcpy(&f, &low, sizeof f);
		memcpy(&d, &bits, sizeof d);
		if (isfinite(f) && f != 0) {
			int n = 1;
			buf[text_from_float(buf, f)] = 0;
			g = strtof(buf, NULL);
			assert_memory_equal(&f, &g, sizeof f);
			for (; n < 9; n++) {
				snprintf(fewer, sizeof fewer, "%.*e", n - 1, (double)f);
				if (strtof(fewer, NULL) == f)
					break;
			}
			int digits = 0, zeros = 0;
			for (const char *s = buf; *s && *s != 'e'; s++) {
				bool digit = *s >= '0' && *s <= '9';
				zeros = *s == '0' && digits ? zeros + 1 : digit ? 0 : zeros;
				digits += digit && (digits || *s != '0');
			}
			assert_in_range(digits - zeros, 1, n);
		}
		if (isfinite(d) && d != 0) {
			buf[text_from_double(buf, d)] = 0;
			e = strtod(buf, NULL);
			assert_memory_equal(&d, &e, sizeof d);
		}
	}
}

static void test_function(void **state)
{
	pai_ctx *ctx = *state;
	pai_model *m = pai_model_new(ctx, "g", 17);
	pai_function *f;
	assert_int_equal(
		pai_text_parse_function(
			ctx, m,
			"<domain: \"pai\", opset_import: [\"\" : 17]> Twice <n: int = 2> (X) "
			"=> (Y) { t = Constant <value_int = @n> () Y = Mul (X, t) }",
			&f),
		PAI_OK);
	assert_string_equal(f->name, "Twice");
	assert_int_equal(f->n_attrs, 1);
	assert_int_equal(f->graph->nodes.n, 2);
	assert_true(f->graph->function == f);
	assert_non_null(f->graph->nodes.at[1]->op);
	assert_int_equal(m->functions.n, 0);
	assert_int_equal(pai_text_parse_function(ctx, m, "f (x) => (y) { y = Op(x) } z", &f),
			 PAI_INVALID);
	pai_model_free(m);
}

/* A call of a model-local function has no operator row, also where the function comes later. */
static void test_function_call(void **state)
{
	pai_model *m;
	assert_int_equal(
		parse(*state,
		      "g (float[2] x) => (float[2] y) { y = Relu (x) }\n"
		      "<domain: \"\", opset_import: [\"\" : 17]> Relu (a) => (b) { b = Abs (a) }",
		      &m),
		PAI_OK);
	assert_null(m->graph->nodes.at[0]->op);
	assert_non_null(m->functions.at[0]->graph->nodes.at[0]->op);
	pai_model_free(m);
}

static void test_elide(void **state)
{
	pai_model *m;
	assert_int_equal(parse(*state, "g () => () <int64[5] a = {1,2,3,4,5}> {}", &m), PAI_OK);
	bytes b = {0};
	pai_text_print(m, 2, &b, put);
	assert_non_null(strstr(b.s, "a = {1,2, ...}"));
	free(b.s);
	pai_model_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_everything, setup, teardown),
		cmocka_unit_test_setup_teardown(test_structure, setup, teardown),
		cmocka_unit_test_setup_teardown(test_operands, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tensors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad, setup, teardown),
		cmocka_unit_test_setup_teardown(test_depth, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mutations, setup, teardown),
		cmocka_unit_test_setup_teardown(test_function, setup, teardown),
		cmocka_unit_test_setup_teardown(test_function_call, setup, teardown),
		cmocka_unit_test_setup_teardown(test_elide, setup, teardown),
		cmocka_unit_test(test_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

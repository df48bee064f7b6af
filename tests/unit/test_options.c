/* test_options.c -- the grammar of pipelines, checking against option tables, globs. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "compiler/compiler.h"
#include <string.h>

typedef struct fixture {
	pai_ctx *ctx;
	pai_arena *a;
} fixture;

static int setup(void **state)
{
	static fixture f;
	f.ctx = pai_ctx_new(NULL);
	f.a = pai_arena_new(f.ctx);
	*state = &f;
	return f.ctx ? 0 : -1;
}

static int teardown(void **state)
{
	fixture *f = *state;
	pai_arena_free(f->a);
	pai_ctx_free(f->ctx);
	return 0;
}

/* What is written, and its canonical spelling. */
static void test_good(void **state)
{
	static const struct {
		const char *text, *printed;
		int n;
	} cases[] = {
		{"", "", 0},
		{"  ", "", 0},
		{"a", "a", 1},
		{" a , b ", "a,b", 2},
		{"a{}", "a", 1},
		{"a{k=v}", "a{k=v}", 1},
		{"a { k = v , l = 2 } , b", "a{k=v,l=2},b", 2},
		{"a{k=\"\"}", "a{k=\"\"}", 1},
		{"a{k=\"x\"}", "a{k=x}", 1},
		{"a{k=\"x,y\"}", "a{k=\"x,y\"}", 1},
		{"a{k=\"{}\"}", "a{k=\"{}\"}", 1},
		{"a{k=\"say \\\"hi\\\" \\\\\"}", "a{k=\"say \\\"hi\\\" \\\\\"}", 1},
		{"a{k=\"C:\\dir\"}", "a{k=\"C:\\\\dir\"}", 1},
		{"add-dendrites{count=2,select=\"op:Conv\"}",
		 "add-dendrites{count=2,select=op:Conv}", 1},
		{"weights:deterministic_rounding{num_levels=16}",
		 "weights:deterministic_rounding{num_levels=16}", 1},
		{"sgd{lr=1e-3}\n", "sgd{lr=1e-3}", 1},
	};
	fixture *f = *state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		pai_item *items, *again;
		int n, m;
		assert_int_equal(pai_items_parse(f->ctx, f->a, cases[i].text, &items, &n), PAI_OK);
		assert_int_equal(n, cases[i].n);
		const char *printed = pai_items_print(f->a, items, n);
		assert_string_equal(printed, cases[i].printed);
		assert_int_equal(pai_items_parse(f->ctx, f->a, printed, &again, &m), PAI_OK);
		assert_string_equal(pai_items_print(f->a, again, m), printed);
	}
}

static void test_bad(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{",", "expected a name at column 1"},
		{"a,", "expected a name at the end"},
		{"a,,b", "expected a name at column 3"},
		{"{", "expected a name at column 1"},
		{"a}", "expected ',' at column 2"},
		{"a b", "expected ',' at column 3"},
		{"a{", "expected a key at the end"},
		{"a{k", "expected '=' at the end"},
		{"a{k}", "expected '=' at column 4"},
		{"a{k=", "expected a value at the end"},
		{"a{k=}", "expected a value at column 5"},
		{"a{k=v", "expected ',' or '}' at the end"},
		{"a{k=v,}", "expected a key at column 7"},
		{"a{=v}", "expected a key at column 3"},
		{"a{k==v}", "expected a value at column 5"},
		{"a{k=v w}", "expected ',' or '}' at column 7"},
		{"a{k=\"v}", "expected a closing quote for the value at column 5"},
		{"a{k=\"v\\\"}", "expected a closing quote for the value at column 5"},
		{"a{k=v\"w\"}", "expected ',' or '}' at column 6"},
		{"a{k=1,k=2}", "\"k\" is given twice"},
		{"a{k=v}{l=w}", "expected ',' at column 7"},
		{"a{b{k=v}}", "expected '=' at column 4"},
		{"a;b", NULL}, /* a name may hold it: what it means is for the table */
	};
	fixture *f = *state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		pai_item *items;
		int n;
		pai_diag_clear(f->ctx);
		pai_status status = pai_items_parse(f->ctx, f->a, cases[i].text, &items, &n);
		assert_int_equal(status, cases[i].message ? PAI_USAGE : PAI_OK);
		if (!cases[i].message)
			continue;
		assert_int_equal(pai_diag_count(f->ctx), 1);
		assert_int_equal(pai_diag_get(f->ctx, 0)->code, PAI_E_bad_grammar);
		if (!strstr(pai_diag_get(f->ctx, 0)->text, cases[i].message))
			fail_msg("%s: %s", cases[i].text, pai_diag_get(f->ctx, 0)->text);
	}
}

static const pai_option options[] = {
	{"count", PAI_OPT_INT, "1", false, 1, 16, NULL, "how many"},
	{"rate", PAI_OPT_FLOAT, "0.5", false, 0, 1, NULL, "how fast"},
	{"free", PAI_OPT_FLOAT, NULL, false, 0, 0, NULL, "any number"},
	{"keep", PAI_OPT_BOOL, "true", false, 0, 0, NULL, "whether"},
	{"recipe", PAI_OPT_STRING, "block", false, 0, 0, "block|reference", "which"},
	{"select", PAI_OPT_STRING, NULL, true, 0, 0, NULL, "where"},
	{"weights", PAI_OPT_FLOATS, NULL, false, 0, 9, NULL, "numbers"},
	{NULL, PAI_OPT_INT, NULL, false, 0, 0, NULL, NULL},
};

static void test_check(void **state)
{
	static const struct {
		const char *text;
		pai_code code; /* 0: fine */
		const char *message;
	} cases[] = {
		{"p{select=x}", 0, NULL},
		{"p{select=x,count=16,rate=1,keep=off,recipe=reference,free=-1e9}", 0, NULL},
		{"p{select=\"\"}", 0, NULL},
		{"p", PAI_E_missing_argument, "p needs the option \"select\""},
		{"p{select=x,cuont=3}", PAI_E_unknown_option, "did you mean count?"},
		{"p{select=x,zzzzzzzz=3}", PAI_E_unknown_option, "p has no option \"zzzzzzzz\""},
		{"p{select=x,count=0}", PAI_E_bad_value, "count is from 1 to 16, not 0"},
		{"p{select=x,count=17}", PAI_E_bad_value, "from 1 to 16"},
		{"p{select=x,count=2.5}", PAI_E_bad_value, "count is an integer, not \"2.5\""},
		{"p{select=x,count=two}", PAI_E_bad_value, "count is an integer"},
		{"p{select=x,count=99999999999999999999}", PAI_E_bad_value, "an integer"},
		{"p{select=x,count=\" 2\"}", PAI_E_bad_value, "an integer"},
		{"p{select=x,count=+2}", PAI_E_bad_value, "an integer"},
		{"p{select=x,rate=1.01}", PAI_E_bad_value, "rate is from 0 to 1, not 1.01"},
		{"p{select=x,rate=nan}", PAI_E_bad_value, "rate is a number"},
		{"p{select=x,rate=inf}", PAI_E_bad_value, "rate is a number"},
		{"p{select=x,rate=0x1}", PAI_E_bad_value, "rate is a number"},
		{"p{select=x,weights=2}", 0, NULL},
		{"p{select=x,weights=\"0,9,1e-3\"}", 0, NULL},
		{"p{select=x,weights=\"1,10\"}", PAI_E_bad_value, "weights is from 0 to 9, not 10"},
		{"p{select=x,weights=\"1,,2\"}", PAI_E_bad_value, "numbers between commas"},
		{"p{select=x,weights=\"1,2,\"}", PAI_E_bad_value, "numbers between commas"},
		{"p{select=x,weights=\"\"}", PAI_E_bad_value, "numbers between commas"},
		{"p{select=x,rate=1e}", PAI_E_bad_value, "rate is a number"},
		{"p{select=x,keep=maybe}", PAI_E_bad_value, "keep is true or false"},
		{"p{select=x,recipe=bloc}", PAI_E_bad_value, "recipe is one of block|reference"},
		{"p{select=x,recipe=block|reference}", PAI_E_bad_value, "recipe is one of"},
		{"p{select=x,recipe=\"\"}", PAI_E_bad_value, "recipe is one of"},
	};
	fixture *f = *state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		pai_item *items;
		int n;
		pai_diag_clear(f->ctx);
		assert_int_equal(pai_items_parse(f->ctx, f->a, cases[i].text, &items, &n), PAI_OK);
		pai_status status = pai_item_check(f->ctx, items, options);
		assert_int_equal(status, cases[i].code ? PAI_USAGE : PAI_OK);
		if (!cases[i].code)
			continue;
		assert_int_equal(pai_diag_get(f->ctx, 0)->code, cases[i].code);
		if (!strstr(pai_diag_get(f->ctx, 0)->text, cases[i].message))
			fail_msg("%s: %s", cases[i].text, pai_diag_get(f->ctx, 0)->text);
	}
}

static void test_no_options(void **state)
{
	fixture *f = *state;
	pai_item *items;
	int n;
	assert_int_equal(pai_items_parse(f->ctx, f->a, "a,b{k=1}", &items, &n), PAI_OK);
	assert_int_equal(pai_item_check(f->ctx, &items[0], NULL), PAI_OK);
	assert_int_equal(pai_item_check(f->ctx, &items[1], NULL), PAI_USAGE);
}

static void test_values(void **state)
{
	fixture *f = *state;
	pai_item *items;
	int n;
	assert_int_equal(pai_items_parse(f->ctx, f->a, "p{count=-3,rate=2.5e-1,keep=no,select=a*b}",
					 &items, &n),
			 PAI_OK);
	assert_int_equal(pai_item_int(items, options, "count"), -3);
	assert_true(pai_item_float(items, options, "rate") == 0.25);
	assert_false(pai_item_bool(items, options, "keep"));
	assert_string_equal(pai_item_string(items, options, "select"), "a*b");
	assert_string_equal(pai_item_string(items, options, "recipe"), "block");
	assert_null(pai_item_string(items, options, "free"));
	assert_int_equal(pai_items_parse(f->ctx, f->a, "p", &items, &n), PAI_OK);
	assert_int_equal(pai_item_int(items, options, "count"), 1);
	assert_true(pai_item_float(items, options, "rate") == 0.5);
	assert_true(pai_item_bool(items, options, "keep"));
	assert_int_equal(pai_item_int(NULL, options, "count"), 1);
}

static void test_glob(void **state)
{
	static const struct {
		const char *pattern, *s;
		bool match;
	} cases[] = {
		{"", "", true},
		{"", "a", false},
		{"a", "a", true},
		{"a", "b", false},
		{"a", "ab", false},
		{"*", "", true},
		{"*", "anything", true},
		{"**", "x", true},
		{"?", "", false},
		{"?", "x", true},
		{"??", "x", false},
		{"a*", "abc", true},
		{"*c", "abc", true},
		{"*b", "abc", false},
		{"a*c", "abbc", true},
		{"a*c", "abcd", false},
		{"*a*b*", "xxaxxbxx", true},
		{"*a*b*", "xxbxxaxx", false},
		{"conv?.w", "conv1.w", true},
		{"conv?.w", "conv12.w", false},
		{"*ab", "aab", true},
		{"a?c*", "abc", true},
		{"[a]", "a", false},
		{"*aaaaaaaaaaaab", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (pai_glob(cases[i].pattern, cases[i].s) != cases[i].match)
			fail_msg("%s %s", cases[i].pattern, cases[i].s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_good, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_options, setup, teardown),
		cmocka_unit_test_setup_teardown(test_values, setup, teardown),
		cmocka_unit_test(test_glob),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

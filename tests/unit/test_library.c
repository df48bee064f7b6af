/* test_library.c -- libraries opened when needed: one that is there, one that is not, one that
 * lacks a function. */
#include "runtime/library.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

typedef struct table {
	double (*cosine)(double);
	double (*sine)(double);
} table;

static void test_open(void **unused)
{
	static const struct {
		const char *library, *symbol;
		pai_status status;
		const char *says;
	} cases[] = {
		{"libm.so.6", "sin", PAI_OK, NULL},
		{"libm.so.6", "no_such_function", PAI_IO,
		 "libm.so.6 has no function no_such_function"},
		{"libno_such_library.so.7", "sin", PAI_IO, "libno_such_library.so.7"},
	};
	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		pai_ctx *ctx = pai_ctx_new(NULL);
		table t = {0};
		const pai_symbol symbols[] = {{"cos", offsetof(table, cosine)},
					      {cases[i].symbol, offsetof(table, sine)}};
		assert_int_equal(pai_library_open(ctx, cases[i].library, 2, symbols, &t),
				 cases[i].status);
		if (cases[i].says)
			assert_non_null(strstr(pai_diag_get(ctx, 0)->text, cases[i].says));
		else
			assert_true(t.sine(0.0) == 0 && t.cosine(0.0) == 1);
		pai_ctx_free(ctx);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_open)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_library.c -- libraries opened when needed: one that is there, one that is not, one that
 * lacks a function, one there is no room for; threads, as many as there can be. */
#include "runtime/library.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <cmocka.h>

typedef struct table {
	double (*cosine)(double);
	double (*sine)(double);
} table;

static void test_open(void **unused)
{
	static const struct {
		const char *library, *symbol;
		size_t room;
		pai_status status;
		const char *says;
	} cases[] = {
		{"libm.so.6", "sin", 1 << 20, PAI_OK, NULL},
		{"libm.so.6", "no_such_function", 1 << 20, PAI_IO,
		 "libm.so.6 has no function no_such_function"},
		{"libno_such_library.so.7", "sin", 1 << 20, PAI_IO, "libno_such_library.so.7"},
		{"libzip.so.4", "sin", (size_t)1 << 50, PAI_NOMEM, "to load libzip.so.4"},
	};
	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		pai_ctx *ctx = pai_ctx_new(NULL);
		table t = {0};
		const pai_symbol symbols[] = {{"cos", offsetof(table, cosine)},
					      {cases[i].symbol, offsetof(table, sine)}};
		assert_int_equal(
			pai_library_open(ctx, cases[i].library, cases[i].room, 2, symbols, &t),
			cases[i].status);
		if (cases[i].says)
			assert_non_null(strstr(pai_diag_get(ctx, 0)->text, cases[i].says));
		else
			assert_true(t.sine(0.0) == 0 && t.cosine(0.0) == 1);
		pai_ctx_free(ctx);
	}
}

/* Where no more threads can be made there are fewer, and it is no error. */
static void test_threads(void **unused)
{
	(void)unused;
	pai_ctx *ctx = pai_ctx_new(NULL);
	assert_int_equal(pai_threads_there(ctx, 1), 1);
	assert_int_equal(pai_threads_there(ctx, 3), 3);
	struct rlimit now, few;
	assert_int_equal(getrlimit(RLIMIT_AS, &now), 0);
	few = now;
	few.rlim_cur = 1 << 20; /* less than there is: nothing more can be mapped */
	assert_int_equal(setrlimit(RLIMIT_AS, &few), 0);
	int again = pai_threads_there(ctx, 3), many = pai_threads_there(ctx, 1000);
	assert_int_equal(setrlimit(RLIMIT_AS, &now), 0);
	assert_int_equal(again, 3);
	assert_true(many >= 1 && many < 1000);
	pai_ctx_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_open),
					   cmocka_unit_test(test_threads)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

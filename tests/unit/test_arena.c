/* test_arena.c -- arenas, the string table, checked sizes, and failing allocations. */
#include "compiler/compiler.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct failing { /* the n-th call fails; live counts what is not freed */
	int calls, fail_at, live;
} failing;

static void *failing_alloc(void *payload, size_t n)
{
	failing *f = payload;
	if (++f->calls == f->fail_at)
		return NULL;
	f->live++;
	return malloc(n);
}

static void failing_free(void *payload, void *p)
{
	failing *f = payload;
	f->live -= p != NULL;
	free(p);
}

static void objects_are_zeroed_aligned_and_apart(void **state)
{
	(void)state;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_arena *a = pai_arena_new(ctx);
	char *before = NULL;
	size_t before_n = 0;
	for (size_t n = 0; n < 100000; n = n * 3 / 2 + 1) {
		char *p = pai_arena_alloc(a, n);
		assert_int_equal((uintptr_t)p % 16, 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0x5a, n);
		for (size_t i = 0; i < before_n; i++) /* the one before is untouched */
			assert_int_equal(before[i], 0x5a);
		before = p;
		before_n = n;
	}
	assert_int_equal((uintptr_t)pai_arena_bulk(a, 1000) % 64, 0);
	assert_null(pai_arena_bulk(a, SIZE_MAX - 10));
	pai_arena_free(a);
	pai_ctx_free(ctx);
}

static void bulk_reports_no_memory_and_nothing_leaks(void **state)
{
	(void)state;
	for (int k = 1; k < 12; k++) {
		failing f = {0};
		const pai_allocator alloc = {failing_alloc, failing_free, &f};
		pai_ctx *ctx = pai_ctx_new(&alloc);
		pai_arena *a = pai_arena_new(ctx);
		f.fail_at = f.calls + k;
		int got = 0;
		for (int i = 0; i < 10; i++)
			got += pai_arena_bulk(a, 100000) != NULL;
		assert_int_equal(got, k <= 10 ? 9 : 10);
		pai_arena_free(a);
		pai_ctx_free(ctx);
		assert_int_equal(f.live, 0);
	}
}

static jmp_buf out_of_memory;

static void jump(pai_ctx *ctx, size_t n)
{
	(void)ctx, (void)n;
	longjmp(out_of_memory, 1);
}

static void small_objects_call_on_oom(void **state)
{
	(void)state;
	failing f = {0};
	const pai_allocator alloc = {failing_alloc, failing_free, &f};
	pai_ctx *ctx = pai_ctx_new(&alloc);
	pai_arena *a = pai_arena_new(ctx);
	ctx->on_oom = jump;
	f.fail_at = f.calls + 1;
	bool called = true;
	if (!setjmp(out_of_memory)) {
		pai_arena_alloc(a, 16);
		called = false;
	}
	assert_true(called);
	pai_arena_free(a);
	pai_ctx_free(ctx);
}

static int released[3], n_released;

static void release(void *p)
{
	released[n_released++] = *(int *)p;
}

static void releases_run_last_first(void **state)
{
	(void)state;
	static int ids[3] = {1, 2, 3};
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_arena *a = pai_arena_new(ctx);
	n_released = 0;
	for (int i = 0; i < 3; i++)
		pai_arena_defer(a, release, &ids[i]);
	pai_arena_free(a);
	assert_int_equal(n_released, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(released[i], 3 - i);
	pai_ctx_free(ctx);
}

static void maps_find_replace_and_forget(void **state)
{
	(void)state;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_arena *a = pai_arena_new(ctx);
	pai_map *m = pai_map_new(a);
	static int values[1000];
	assert_null(pai_map_get(m, "0"));
	for (int i = 0; i < 1000; i++)
		pai_map_put(m, pai_arena_printf(a, "%d", i), &values[i]);
	for (int i = 0; i < 1000; i++)
		assert_ptr_equal(pai_map_get(m, pai_arena_printf(a, "%d", i)), &values[i]);
	assert_null(pai_map_get(m, "1000"));
	pai_map_put(m, "7", NULL);
	assert_null(pai_map_get(m, "7"));
	pai_map_put(m, "7", &values[8]);
	assert_ptr_equal(pai_map_get(m, "7"), &values[8]);
	pai_arena_free(a);
	pai_ctx_free(ctx);
}

static void sizes_never_wrap(void **state)
{
	(void)state;
	static const struct {
		size_t a, b;
		bool mul, add;
	} cases[] = {
		{0, SIZE_MAX, true, true},
		{1, SIZE_MAX, true, false},
		{2, SIZE_MAX / 2, true, true},
		{2, SIZE_MAX / 2 + 1, false, true},
		{SIZE_MAX, SIZE_MAX, false, false},
		{(size_t)1 << 32, (size_t)1 << 31, true, true},
		{(size_t)1 << 32, (size_t)1 << 32, false, true},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t out;
		assert_int_equal(pai_size_mul(cases[i].a, cases[i].b, &out), cases[i].mul);
		assert_int_equal(pai_size_add(cases[i].a, cases[i].b, &out), cases[i].add);
	}
}

static void texts_are_copied_whole(void **state)
{
	(void)state;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_arena *a = pai_arena_new(ctx);
	assert_null(pai_arena_strdup(a, NULL));
	assert_string_equal(pai_arena_strdup(a, ""), "");
	assert_string_equal(pai_arena_strndup(a, "abcdef", 3), "abc");
	assert_string_equal(pai_arena_strndup(a, "ab", 30), "ab");
	assert_string_equal(pai_arena_printf(a, "%s-%d", "x", 12345), "x-12345");
	PAI_VEC(int) v = {0};
	for (int i = 0; i < 100; i++)
		PAI_PUSH(a, v, i);
	for (int i = 0; i < 100; i++)
		assert_int_equal(v.at[i], i);
	pai_arena_free(a);
	pai_ctx_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_are_zeroed_aligned_and_apart),
		cmocka_unit_test(bulk_reports_no_memory_and_nothing_leaks),
		cmocka_unit_test(small_objects_call_on_oom),
		cmocka_unit_test(releases_run_last_first),
		cmocka_unit_test(maps_find_replace_and_forget),
		cmocka_unit_test(sizes_never_wrap),
		cmocka_unit_test(texts_are_copied_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

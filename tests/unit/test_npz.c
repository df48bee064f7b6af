/* test_npz.c -- numpy's files: what is read, what is written, and what hostile ones get.
 *
 * tests/data/npz/make.py wrote the files. Every refusal must be INVALID or LIMIT with one message.
 */
#include "runtime/runtime.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define DATA PAI_TEST_DATA "/npz/"

typedef struct fixture {
	pai_ctx *ctx;
	pai_arena *arena;
} fixture;

static int setup(void **state)
{
	fixture *f = calloc(1, sizeof *f);
	f->ctx = pai_ctx_new(NULL);
	f->arena = pai_arena_new(f->ctx);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	fixture *f = *state;
	pai_arena_free(f->arena);
	pai_ctx_free(f->ctx);
	free(f);
	return 0;
}

static const pai_tensor *find(pai_tensor **t, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (strcmp(t[i]->name, name) == 0)
			return t[i];
	fail_msg("no array %s", name);
	return NULL;
}

static void check_sound(pai_tensor **t, int n)
{
	static const struct {
		const char *name;
		pai_dtype dtype;
	} types[] = {{"f2", PAI_FLOAT16}, {"f4", PAI_FLOAT},  {"f8", PAI_DOUBLE}, {"i1", PAI_INT8},
		     {"i2", PAI_INT16},   {"i4", PAI_INT32},  {"i8", PAI_INT64},  {"u1", PAI_UINT8},
		     {"u2", PAI_UINT16},  {"u4", PAI_UINT32}, {"u8", PAI_UINT64}, {"b1", PAI_BOOL}};
	assert_int_equal(n, 15);
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		const pai_tensor *a = find(t, n, types[i].name);
		assert_int_equal(a->dtype, types[i].dtype);
		assert_int_equal(a->rank, 2);
		assert_int_equal(a->dims[0], 2);
		assert_int_equal(a->dims[1], 3);
		for (int k = 0; k < 6; k++)
			assert_true(pai_tensor_get(a, k) ==
				    (types[i].dtype == PAI_BOOL ? k % 2 == 0 : k));
	}
	const pai_tensor *scalar = find(t, n, "scalar"), *empty = find(t, n, "empty");
	assert_int_equal(scalar->rank, 0);
	assert_true(pai_tensor_get(scalar, 0) == 2.5);
	assert_int_equal(empty->rank, 2);
	assert_int_equal(empty->nbytes, 0);
	const pai_tensor *fortran = find(t, n, "fortran");
	for (int k = 0; k < 24; k++)
		assert_true(pai_tensor_get(fortran, k) == k);
}

static void reads_sound_archives(void **state)
{
	fixture *f = *state;
	static const char *const files[] = {DATA "sound_stored.npz", DATA "sound_deflated.npz"};
	for (int i = 0; i < 2; i++) {
		pai_tensor **t;
		int n;
		assert_int_equal(pai_tensors_read(f->ctx, f->arena, files[i], &t, &n), PAI_OK);
		check_sound(t, n);
	}
}

static void reads_single_arrays(void **state)
{
	fixture *f = *state;
	pai_tensor **t;
	int n;
	assert_int_equal(pai_tensors_read(f->ctx, f->arena, DATA "plain.npy", &t, &n), PAI_OK);
	assert_int_equal(n, 1);
	assert_string_equal(t[0]->name, "");
	assert_int_equal(pai_tensor_nelem(t[0]), 6);
	assert_true(pai_tensor_get(t[0], 5) == 5);
	assert_int_equal(pai_tensors_read(f->ctx, f->arena, DATA "version2.npy", &t, &n), PAI_OK);
	assert_int_equal(t[0]->dtype, PAI_INT32);
	assert_true(pai_tensor_get(t[0], 2) == 2);
}

static void refuses_hostile_files(void **state)
{
	fixture *f = *state;
	DIR *d = opendir(DATA);
	int seen = 0;
	for (struct dirent *e; (e = readdir(d));) {
		if (strncmp(e->d_name, "bad_", 4) != 0)
			continue;
		pai_arena *a = pai_arena_new(f->ctx);
		pai_tensor **t;
		int n;
		pai_status s = pai_tensors_read(
			f->ctx, a, pai_arena_printf(a, "%s%s", DATA, e->d_name), &t, &n);
		if (s != PAI_INVALID)
			fail_msg("%s: status %d", e->d_name, s);
		assert_int_equal(pai_diag_count(f->ctx), 1);
		pai_diag_clear(f->ctx);
		pai_arena_free(a);
		seen++;
	}
	closedir(d);
	assert_int_equal(seen, 28);
}

static void keeps_to_limits(void **state)
{
	fixture *f = *state;
	pai_tensor **t;
	int n;
	f->ctx->limits.npz_entries = 14;
	assert_int_equal(pai_tensors_read(f->ctx, f->arena, DATA "sound_stored.npz", &t, &n),
			 PAI_LIMIT);
	f->ctx->limits.npz_entries = 15;
	f->ctx->limits.npz_bytes = 1000;
	assert_int_equal(pai_tensors_read(f->ctx, f->arena, DATA "sound_stored.npz", &t, &n),
			 PAI_LIMIT);
}

static pai_status parse(fixture *f, bool archive, const void *bytes, size_t size)
{
	pai_arena *a = pai_arena_new(f->ctx);
	pai_tensor **all, *one;
	int n;
	pai_status s = archive ? pai_npz_parse(f->ctx, a, "x.npz", bytes, size, &all, &n)
			       : pai_npy_parse(f->ctx, a, "x.npy", bytes, size, &one);
	pai_arena_free(a);
	pai_diag_clear(f->ctx);
	return s;
}

/* Every prefix of a file is refused; every flipped bit is refused or harmless. */
static void survives_damage(void **state)
{
	fixture *f = *state;
	static const char *const files[] = {DATA "plain.npy", DATA "sound_stored.npz",
					    DATA "sound_deflated.npz"};
	for (int i = 0; i < 3; i++) {
		pai_file file;
		assert_int_equal(pai_file_open(f->ctx, f->arena, files[i], &file), PAI_OK);
		for (size_t n = 0; n < file.size; n++) { /* a copy of its own: overruns are seen */
			uint8_t *part = malloc(n ? n : 1);
			pai_copy(part, file.data, n);
			assert_int_equal(parse(f, i > 0, part, n), PAI_INVALID);
			free(part);
		}
		uint8_t *copy = malloc(file.size);
		memcpy(copy, file.data, file.size);
		for (size_t at = 0; at < file.size; at++) {
			copy[at] ^= (uint8_t)(1 << at % 8);
			pai_status s = parse(f, i > 0, copy, file.size);
			assert_true(s == PAI_OK || s == PAI_INVALID || s == PAI_LIMIT ||
				    s == PAI_NOMEM);
			copy[at] ^= (uint8_t)(1 << at % 8);
		}
		free(copy);
	}
}

static void writes_what_it_reads(void **state)
{
	fixture *f = *state;
	char path[] = "/tmp/pai-npz-XXXXXX.npz";
	close(mkstemps(path, 4));
	pai_tensor **t;
	int n;
	assert_int_equal(pai_tensors_read(f->ctx, f->arena, DATA "sound_deflated.npz", &t, &n),
			 PAI_OK);
	const char *names[15];
	const pai_tensor *tensors[15];
	for (int i = 0; i < n; i++) {
		names[i] = t[i]->name;
		tensors[i] = t[i];
	}
	assert_int_equal(pai_npz_write(f->ctx, path, n, names, tensors), PAI_OK);
	pai_file first, second;
	assert_int_equal(pai_file_open(f->ctx, f->arena, path, &first), PAI_OK);
	pai_tensor **back;
	assert_int_equal(pai_tensors_read(f->ctx, f->arena, path, &back, &n), PAI_OK);
	check_sound(back, n);
	assert_int_equal(pai_npz_write(f->ctx, path, n, names, tensors), PAI_OK);
	assert_int_equal(pai_file_open(f->ctx, f->arena, path, &second), PAI_OK);
	assert_int_equal(first.size, second.size);
	assert_memory_equal(first.data, second.data, first.size);
	unlink(path);
}

/* Types that numpy lacks come out as the next wider one. */
static void widens_what_numpy_lacks(void **state)
{
	fixture *f = *state;
	char path[] = "/tmp/pai-npy-XXXXXX.npy";
	close(mkstemps(path, 4));
	static const struct {
		pai_dtype from, to;
	} cases[] = {{PAI_BFLOAT16, PAI_FLOAT}, {PAI_INT4, PAI_INT8}, {PAI_UINT4, PAI_UINT8}};
	for (int c = 0; c < 3; c++) {
		pai_tensor *t = pai_tensor_new(f->arena, cases[c].from, 1, (int64_t[]){3});
		for (int i = 0; i < 3; i++)
			pai_tensor_set(t, i, i + 1);
		const char *name = "x";
		const pai_tensor *in = t;
		assert_int_equal(pai_npz_write(f->ctx, path, 1, &name, &in), PAI_OK);
		pai_tensor **back;
		int n;
		assert_int_equal(pai_tensors_read(f->ctx, f->arena, path, &back, &n), PAI_OK);
		assert_int_equal(back[0]->dtype, cases[c].to);
		for (int i = 0; i < 3; i++)
			assert_true(pai_tensor_get(back[0], i) == i + 1);
	}
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reads_sound_archives, setup, teardown),
		cmocka_unit_test_setup_teardown(reads_single_arrays, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_hostile_files, setup, teardown),
		cmocka_unit_test_setup_teardown(keeps_to_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(survives_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(writes_what_it_reads, setup, teardown),
		cmocka_unit_test_setup_teardown(widens_what_numpy_lacks, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

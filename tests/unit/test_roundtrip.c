/* test_roundtrip.c -- models read and written: no change, no difference.
 *
 * Runs over tests/data/models, and over the folder named by PAI_TEST_MODELS where that is set.
 */
#include "compiler/wire.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pai_file whole_file(pai_ctx *ctx, pai_arena *a, const char *path)
{
	pai_file f = {0};
	assert_int_equal(pai_file_open(ctx, a, path, &f), PAI_OK);
	return f;
}

static void show_diags(pai_ctx *ctx)
{
	for (int i = 0; i < pai_diag_count(ctx); i++)
		pai_diag_print(pai_diag_get(ctx, i), stderr, false);
}

static void same_files(pai_ctx *ctx, const char *left, const char *right)
{
	pai_arena *a = pai_arena_new(ctx);
	pai_file l = whole_file(ctx, a, left), r = whole_file(ctx, a, right);
	if (l.size != r.size || memcmp(l.data, r.data, l.size) != 0)
		fail_msg("%s and %s differ (%zu, %zu bytes)", left, right, l.size, r.size);
	pai_arena_free(a);
}

static char folder[] = "/tmp/pai-roundtrip-XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	DIR *d = opendir(folder);
	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.' || strlen(e->d_name) > 2) {
			char path[4096];
			snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
			unlink(path);
		}
	closedir(d);
	return rmdir(folder);
}

/* Read and written unchanged; then built and packed again as if it had been changed. */
static void round_trip(const char *path, int *n_same)
{
	char out[4096], again[4096];
	const char *name = strrchr(path, '/') + 1;
	snprintf(out, sizeof out, "%s/%s", folder, name);
	snprintf(again, sizeof again, "%s/again.onnx", folder);
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = NULL;
	pai_status s = pai_model_read(ctx, path, &m);
	show_diags(ctx);
	assert_int_equal(s, PAI_OK);
	assert_int_equal(pai_model_write(m, out, NULL), PAI_OK);
	same_files(ctx, path, out);
	m->epoch = 1;
	pai_write_options share = {.external = PAI_EXTERNAL_KEEP};
	assert_int_equal(pai_model_write(m, again, &share), PAI_OK);
	pai_model *second = NULL;
	s = pai_model_read(ctx, again, &second);
	show_diags(ctx);
	assert_int_equal(s, PAI_OK);
	pai_arena *a = pai_arena_new(ctx);
	pai_file l = whole_file(ctx, a, path), r = whole_file(ctx, a, again);
	bool same = l.size == r.size && memcmp(l.data, r.data, l.size) == 0;
	*n_same += same;
	if (!same)
		print_message("%s: packed again differs (%zu, %zu bytes)\n", name, l.size, r.size);
	pai_arena_free(a);
	pai_model_free(second);
	pai_model_free(m);
	pai_ctx_free(ctx);
}

static void round_trip_folder(const char *path, int least)
{
	int n = 0, n_same = 0;
	DIR *d = opendir(path);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));) {
		size_t length = strlen(e->d_name);
		if (length < 5 || strcmp(e->d_name + length - 5, ".onnx") != 0)
			continue;
		char file[4096];
		snprintf(file, sizeof file, "%s/%s", path, e->d_name);
		round_trip(file, &n_same);
		n++;
	}
	closedir(d);
	print_message("%s: %d models, %d the same after packing\n", path, n, n_same);
	assert_true(n >= least);
}

static void test_models(void **state)
{
	(void)state;
	round_trip_folder(PAI_TEST_DATA "/models", 5);
}

static void test_more_models(void **state)
{
	(void)state;
	const char *path = getenv("PAI_TEST_MODELS");
	if (!path)
		skip();
	round_trip_folder(path, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_models),
		cmocka_unit_test(test_more_models),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

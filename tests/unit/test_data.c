/* test_data.c -- data sets: IDX, folders of tensors, ranges of samples, matching to a model. */
#include "runtime/runtime.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <cmocka.h>

typedef struct fixture {
	pai_ctx *ctx;
	pai_arena *arena;
	char dir[32];
	pai_model *models[32]; /* to free at the end */
	int n_models;
} fixture;

static int setup(void **state)
{
	fixture *f = calloc(1, sizeof *f);
	f->ctx = pai_ctx_new(NULL);
	f->arena = pai_arena_new(f->ctx);
	strcpy(f->dir, "/tmp/pai-data-XXXXXX");
	*state = f;
	return mkdtemp(f->dir) ? 0 : -1;
}

static int teardown(void **state)
{
	fixture *f = *state;
	char command[64];
	snprintf(command, sizeof command, "rm -r %s", f->dir);
	int failed = system(command);
	for (int i = 0; i < f->n_models; i++)
		pai_model_free(f->models[i]);
	pai_arena_free(f->arena);
	pai_ctx_free(f->ctx);
	free(f);
	return failed;
}

static const char *path(fixture *f, const char *name)
{
	return pai_arena_printf(f->arena, "%s/%s", f->dir, name);
}

static const char *put(fixture *f, const char *name, const void *bytes, size_t n, bool gzip)
{
	const char *p = path(f, name);
	if (gzip) {
		gzFile z = gzopen(p, "wb");
		assert_int_equal(gzwrite(z, bytes, (unsigned)n), n);
		gzclose(z);
	} else {
		FILE *to = fopen(p, "wb");
		assert_int_equal(fwrite(bytes, 1, n, to), n);
		fclose(to);
	}
	return p;
}

/* 3 images of 2 x 2 bytes 0..11, and their labels. */
static const uint8_t images[] = {0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 2, 0,  0,
				 0, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255};
static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 3, 2, 0, 1};

static const char *pair(fixture *f, bool gzip)
{
	put(f, "a-images-idx3", images, sizeof images, gzip);
	put(f, "b-labels-idx1", labels, sizeof labels, gzip);
	return pai_arena_printf(f->arena, "%s/a-images-idx3,%s/b-labels-idx1", f->dir, f->dir);
}

static void reads_idx(void **state)
{
	fixture *f = *state;
	for (int gzip = 0; gzip < 2; gzip++) {
		pai_dataset *d;
		assert_int_equal(pai_dataset_open(f->ctx, pair(f, gzip), &d), PAI_OK);
		assert_int_equal(d->n, 3);
		assert_int_equal(d->n_fields, 2);
		assert_string_equal(d->fields[0].name, "images");
		assert_string_equal(d->fields[1].name, "labels");
		assert_int_equal(d->fields[0].tensor.rank, 3);
		assert_int_equal(((uint8_t *)d->fields[0].tensor.data)[11], 255);
		assert_int_equal(((uint8_t *)d->fields[1].tensor.data)[0], 2);
		pai_dataset_free(d);
	}
}

static void reads_big_endian_idx(void **state)
{
	fixture *f = *state;
	const uint8_t floats[] = {0, 0, 13,   2,    0, 0, 0,    1, 0, 0,
				  0, 2, 0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0};
	pai_dataset *d;
	assert_int_equal(
		pai_dataset_open(f->ctx, put(f, "x.idx2", floats, sizeof floats, false), &d),
		PAI_OK);
	assert_true(pai_tensor_get(&d->fields[0].tensor, 0) == 1);
	assert_true(pai_tensor_get(&d->fields[0].tensor, 1) == -2);
	pai_dataset_free(d);
}

static void takes_ranges(void **state)
{
	fixture *f = *state;
	static const struct {
		const char *range;
		pai_status status;
		int64_t n;
		uint8_t first; /* label */
	} cases[] = {{":2", PAI_OK, 2, 2},        {":1-3", PAI_OK, 2, 0},
		     {":3", PAI_OK, 3, 2},        {":4", PAI_INVALID, 0, 0},
		     {":2-1", PAI_INVALID, 0, 0}, {":0", PAI_INVALID, 0, 0},
		     {":2-2", PAI_INVALID, 0, 0}, {":x", PAI_IO, 0, 0},
		     {":1-", PAI_IO, 0, 0},       {":99999999999999999999", PAI_IO, 0, 0}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		pai_dataset *d;
		const char *spec =
			pai_arena_printf(f->arena, "%s%s", pair(f, false), cases[i].range);
		pai_status s = pai_dataset_open(f->ctx, spec, &d);
		if (s != cases[i].status)
			fail_msg("%s: status %d", cases[i].range, s);
		if (s == PAI_OK) {
			assert_int_equal(d->n, cases[i].n);
			assert_int_equal(((uint8_t *)d->fields[1].tensor.data)[0], cases[i].first);
			pai_dataset_free(d);
		}
	}
}

/* Every prefix, and every file with a byte more, is refused. */
static void refuses_damaged_idx(void **state)
{
	fixture *f = *state;
	for (int gzip = 0; gzip < 2; gzip++) {
		const char *p = put(f, "whole-idx3", images, sizeof images, gzip);
		pai_file whole;
		assert_int_equal(pai_file_open(f->ctx, f->arena, p, &whole), PAI_OK);
		for (size_t n = 0; n < whole.size; n++) {
			pai_dataset *d;
			const char *part = put(f, "part-idx3", whole.data, n, false);
			assert_int_equal(pai_dataset_open(f->ctx, part, &d), PAI_INVALID);
		}
		uint8_t *more = calloc(1, whole.size + 1);
		memcpy(more, whole.data, whole.size);
		pai_dataset *d;
		const char *longer = put(f, "more-idx3", more, whole.size + 1, false);
		assert_int_equal(pai_dataset_open(f->ctx, longer, &d), PAI_INVALID);
		free(more);
	}
}

static void refuses_lying_idx(void **state)
{
	fixture *f = *state;
	static const struct {
		const char *why;
		uint8_t bytes[24];
		size_t n;
	} cases[] = {
		{"huge",
		 {0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1},
		 17},
		{"type", {0, 0, 7, 1, 0, 0, 0, 1, 1}, 9},
		{"rank 0", {0, 0, 8, 0, 1}, 5},
		{"rank 9", {0, 0, 8, 9, 1}, 5},
		{"start", {1, 0, 8, 1, 0, 0, 0, 1, 1}, 9},
		{"no samples", {0, 0, 8, 1, 0, 0, 0, 0}, 8},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		pai_dataset *d;
		for (int gzip = 0; gzip < 2; gzip++) {
			const char *p = put(f, "bad-idx", cases[i].bytes, cases[i].n, gzip);
			if (pai_dataset_open(f->ctx, p, &d) != PAI_INVALID)
				fail_msg("%s is read", cases[i].why);
		}
	}
}

/* A model of one linear layer over [N, 1, 2, 2] with 3 classes. */
static const char linear[] = "<ir_version: 8, opset_import: [\"\" : 17]>\n"
			     "g (float[N, 1, 2, 2] x) => (float[N, 3] y)\n"
			     "<float[4, 3] w = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}> {\n"
			     "  f = Flatten (x)\n"
			     "  y = MatMul (f, w)\n"
			     "}\n";

static pai_status open_batcher(fixture *f, const char *model, const char *loss, pai_dataset *d,
			       const char *label, pai_batcher *b, pai_objective *o)
{
	pai_model *m;
	assert_int_equal(pai_text_parse(f->ctx, "m", model, strlen(model), &m), PAI_OK);
	f->models[f->n_models++] = m;
	assert_int_equal(pai_infer(m), PAI_OK);
	pai_session_options s = {.loss = pai_loss_find(loss), .optimizer = pai_optimizer_get(0)};
	assert_int_equal(pai_objective_new(f->ctx, m, &s, false, o), PAI_OK);
	return pai_batcher_new(f->ctx, f->arena, o, d, label, 2, b);
}

static void fills_batches(void **state)
{
	fixture *f = *state;
	pai_dataset *d;
	pai_batcher b;
	pai_objective o;
	assert_int_equal(pai_dataset_open(f->ctx, pair(f, false), &d), PAI_OK);
	assert_int_equal(open_batcher(f, linear, "cross-entropy", d, NULL, &b, &o), PAI_OK);
	assert_int_equal(b.n_inputs, 1);
	pai_batch_fill(&b, (int64_t[]){2, 0}, 2);
	const pai_tensor *x = b.inputs[0];
	assert_int_equal(x->rank, 4); /* the model's shape, not the file's */
	assert_int_equal(x->dims[0], 2);
	assert_int_equal(x->dtype, PAI_FLOAT);
	assert_true(pai_tensor_get(x, 3) == 1); /* 255 */
	assert_true(pai_tensor_get(x, 5) == (double)(1.0f / 255.0f));
	assert_int_equal(b.labels->dtype, PAI_INT64);
	assert_int_equal(pai_tensor_get_int(b.labels, 0), 1);
	assert_int_equal(pai_tensor_get_int(b.labels, 1), 2);
	pai_batch_fill(&b, (int64_t[]){1}, 1);
	assert_int_equal(x->dims[0], 1);
	assert_int_equal(x->nbytes, 16);
	pai_model_free(o.model);
	pai_dataset_free(d);
}

typedef struct column { /* a field to write */
	const char *name;
	pai_dtype dtype;
	int rank;
	int64_t dims[4];
	double value; /* of every element */
} column;

static const char *put_npz(fixture *f, const column *c, int n)
{
	const char *names[4];
	const pai_tensor *tensors[4];
	for (int i = 0; i < n; i++) {
		pai_tensor *t = pai_tensor_new(f->arena, c[i].dtype, c[i].rank, c[i].dims);
		for (int64_t k = 0; k < pai_tensor_nelem(t); k++)
			pai_tensor_set(t, k, c[i].value);
		names[i] = c[i].name;
		tensors[i] = t;
	}
	assert_int_equal(pai_npz_write(f->ctx, path(f, "d.npz"), n, names, tensors), PAI_OK);
	return path(f, "d.npz");
}

/* What does not fit the model is refused, and the message names both sides. */
static void refuses_what_does_not_fit(void **state)
{
	fixture *f = *state;
	static const struct {
		const char *loss;
		column c[3];
		int n;
		const char *said[2]; /* NULL: it fits */
	} cases[] = {
		{"cross-entropy",
		 {{"x", PAI_FLOAT, 4, {5, 1, 2, 2}, 1}, {"label", PAI_INT32, 1, {5}, 2}},
		 2,
		 {NULL}},
		{"cross-entropy",
		 {{"any", PAI_DOUBLE, 2, {5, 4}, 1}, {"label", PAI_UINT8, 2, {5, 1}, 2}},
		 2,
		 {NULL}},
		{"cross-entropy",
		 {{"x", PAI_FLOAT, 3, {5, 2, 2}, 1}, {"label", PAI_INT64, 1, {5}, 2}},
		 2,
		 {NULL}},
		{"cross-entropy",
		 {{"x", PAI_FLOAT, 4, {5, 1, 3, 2}, 1}, {"label", PAI_INT64, 1, {5}, 2}},
		 2,
		 {"float[5,1,3,2]", "float[N,1,2,2]"}},
		{"cross-entropy",
		 {{"x", PAI_FLOAT, 4, {5, 2, 1, 1}, 1}, {"label", PAI_INT64, 1, {5}, 2}},
		 2,
		 {"float[5,2,1,1]", "float[N,1,2,2]"}},
		{"cross-entropy",
		 {{"x", PAI_INT32, 4, {5, 1, 2, 2}, 1}, {"label", PAI_INT64, 1, {5}, 2}},
		 2,
		 {"int32[5,1,2,2]", "float[N,1,2,2]"}},
		{"cross-entropy",
		 {{"x", PAI_FLOAT, 4, {5, 1, 2, 2}, 1}, {"label", PAI_INT64, 1, {5}, 3}},
		 2,
		 {"label 3 of sample 0", "3 classes"}},
		{"cross-entropy",
		 {{"x", PAI_FLOAT, 4, {5, 1, 2, 2}, 1}, {"label", PAI_INT64, 1, {5}, -1}},
		 2,
		 {"label -1 of sample 0", "3 classes"}},
		{"cross-entropy",
		 {{"x", PAI_FLOAT, 4, {5, 1, 2, 2}, 1}, {"label", PAI_INT64, 2, {5, 2}, 1}},
		 2,
		 {"int64[5,2]", "int64[N]"}},
		{"cross-entropy",
		 {{"x", PAI_FLOAT, 4, {5, 1, 2, 2}, 1}, {"label", PAI_BOOL, 1, {5}, 1}},
		 2,
		 {"bool[5]", "int64[N]"}},
		{"cross-entropy",
		 {{"x", PAI_FLOAT, 4, {5, 1, 2, 2}, 1}, {"target", PAI_INT64, 1, {5}, 1}},
		 2,
		 {"\"label\"", "\"target\""}},
		{"cross-entropy",
		 {{"a", PAI_FLOAT, 4, {5, 1, 2, 2}, 1},
		  {"b", PAI_FLOAT, 4, {5, 1, 2, 2}, 1},
		  {"label", PAI_INT64, 1, {5}, 1}},
		 3,
		 {"input \"x\"", "\"a\", \"b\""}},
		{"mse",
		 {{"x", PAI_FLOAT, 4, {5, 1, 2, 2}, 1}, {"label", PAI_FLOAT, 2, {5, 3}, 1}},
		 2,
		 {NULL}},
		{"mse",
		 {{"x", PAI_FLOAT, 4, {5, 1, 2, 2}, 1}, {"label", PAI_FLOAT, 2, {5, 4}, 1}},
		 2,
		 {"float[5,4]", "float[N,3]"}},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		pai_dataset *d;
		pai_batcher b;
		pai_objective o;
		assert_int_equal(pai_dataset_open(f->ctx, put_npz(f, cases[i].c, cases[i].n), &d),
				 PAI_OK);
		pai_status s = open_batcher(f, linear, cases[i].loss, d, NULL, &b, &o);
		if (s != (cases[i].said[0] ? PAI_INVALID : PAI_OK))
			fail_msg("case %zu: status %d", i, s);
		for (int k = 0; k < 2 && cases[i].said[k]; k++) {
			const char *text = pai_diag_get(f->ctx, 0)->text;
			if (!strstr(text, cases[i].said[k]))
				fail_msg("case %zu: \"%s\" does not name %s", i, text,
					 cases[i].said[k]);
		}
		pai_diag_clear(f->ctx);
		pai_model_free(o.model);
		pai_dataset_free(d);
	}
}

static void refuses_unequal_fields(void **state)
{
	fixture *f = *state;
	const column c[] = {{"x", PAI_FLOAT, 1, {5}, 1}, {"label", PAI_INT64, 1, {4}, 1}};
	const column scalar[] = {{"x", PAI_FLOAT, 0, {0}, 1}};
	pai_dataset *d;
	assert_int_equal(pai_dataset_open(f->ctx, put_npz(f, c, 2), &d), PAI_INVALID);
	assert_int_equal(pai_dataset_open(f->ctx, put_npz(f, scalar, 1), &d), PAI_INVALID);
	assert_int_equal(pai_dataset_open(f->ctx, path(f, "absent.npz"), &d), PAI_IO);
	assert_int_equal(pai_dataset_open(f->ctx, put(f, "x.csv", "1,2\n", 4, false), &d),
			 PAI_INVALID);
}

/* dims [2], FLOAT, name "x", raw_data 1.0 2.0 */
static const uint8_t tensor_pb[] = {0x08, 2, 0x10, 1,    0x42, 1, 'x', 0x4a, 8,
				    0,    0, 0x80, 0x3f, 0,    0, 0,   0x40};

static void reads_folders_of_tensors(void **state)
{
	fixture *f = *state;
	pai_tensor **t;
	int n;
	assert_int_equal(mkdir(path(f, "set"), 0777), 0);
	assert_int_equal(pai_tensors_read(f->ctx, f->arena, path(f, "set"), &t, &n), PAI_INVALID);
	put(f, "set/input_0.pb", tensor_pb, sizeof tensor_pb, false);
	put(f, "set/output_0.pb", tensor_pb, sizeof tensor_pb, false);
	assert_int_equal(pai_tensors_read(f->ctx, f->arena, path(f, "set"), &t, &n), PAI_OK);
	assert_int_equal(n, 2);
	assert_string_equal(t[0]->name, "x");
	assert_true(pai_tensor_get(t[0], 1) == 2);
	for (size_t k = 1; k < sizeof tensor_pb; k++) {
		put(f, "set/input_0.pb", tensor_pb, k, false);
		pai_status s = pai_tensors_read(f->ctx, f->arena, path(f, "set"), &t, &n);
		assert_true(s == PAI_INVALID || (s == PAI_OK && k < 7)); /* a shorter valid one */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reads_idx, setup, teardown),
		cmocka_unit_test_setup_teardown(reads_big_endian_idx, setup, teardown),
		cmocka_unit_test_setup_teardown(takes_ranges, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_damaged_idx, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_lying_idx, setup, teardown),
		cmocka_unit_test_setup_teardown(fills_batches, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_what_does_not_fit, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_unequal_fields, setup, teardown),
		cmocka_unit_test_setup_teardown(reads_folders_of_tensors, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

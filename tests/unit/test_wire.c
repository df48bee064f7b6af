/* test_wire.c -- hostile bytes: each ends with its status, one error that says where, in bounded
 * time and memory. */
#include "tests/unit/onnx_bytes.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <time.h>

enum { MEGABYTE = 1 << 20, MOST_MEMORY = 200 * MEGABYTE };

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int errors(const pai_ctx *ctx)
{
	int n = 0;
	for (int i = 0; i < pai_diag_count(ctx); i++)
		n += pai_diag_get(ctx, i)->severity == PAI_ERROR;
	return n;
}

/* ModelProto fields around what a case puts in: graph 7 closes over it, ir_version before it. */
static void close_model(bytes *b)
{
	bytes_wrap(b, 7, 0);
	bytes_number(b, 1, 8);
}

static void deep(bytes *b, int levels)
{
	for (int i = 0; i < levels; i++) {
		bytes_wrap(b, 6, 0); /* attribute.g */
		bytes_wrap(b, 5, 0); /* node.attribute */
		bytes_wrap(b, 1, 0); /* graph.node */
	}
	close_model(b);
}

static void deep_40(bytes *b)
{
	deep(b, 40);
}

static void deep_10000(bytes *b)
{
	deep(b, 10000);
}

static void deep_types(bytes *b)
{
	for (int i = 0; i < 5000; i++) {
		bytes_wrap(b, 1, 0); /* sequence.elem_type */
		bytes_wrap(b, 4, 0); /* type.sequence_type */
	}
	bytes_wrap(b, 2, 0);  /* value_info.type */
	bytes_wrap(b, 11, 0); /* graph.input */
	close_model(b);
}

/* n empty fields of that number, 8 MiB in all at most. */
static void many_empty(bytes *b, unsigned field, size_t n)
{
	for (size_t i = 0; i < n; i++)
		bytes_field(b, field, "", 0);
}

static void empty_attributes(bytes *b)
{
	many_empty(b, 5, 4 * MEGABYTE);
	bytes_wrap(b, 1, 0);
	close_model(b);
}

static void function_defaults(bytes *b)
{
	many_empty(b, 11, 2000); /* function.attribute_proto */
	bytes_wrap(b, 25, 0);
}

static void many_opsets(bytes *b)
{
	many_empty(b, 8, 2000);
}

static void empty_tensors(bytes *b)
{
	many_empty(b, 5, 4 * MEGABYTE);
	close_model(b);
}

static void empty_nodes(bytes *b)
{
	many_empty(b, 1, 4 * MEGABYTE);
	close_model(b);
}

static void empty_strings(bytes *b)
{
	many_empty(b, 1, 4 * MEGABYTE);
	bytes_wrap(b, 1, 0);
	close_model(b);
}

static void empty_annotations(bytes *b)
{
	many_empty(b, 14, 4 * MEGABYTE);
	close_model(b);
}

static void empty_value_infos(bytes *b)
{
	many_empty(b, 13, 4 * MEGABYTE);
	close_model(b);
}

static void unknown_numbers(bytes *b)
{
	for (size_t i = 0; i < 4 * MEGABYTE; i++)
		bytes_number(b, 9, 0);
	close_model(b);
}

static void small_nodes(bytes *b)
{
	for (int i = 0; i < 900000; i++) {
		size_t before = b->n;
		bytes_text(b, 4, "A");
		bytes_wrap(b, 1, before);
	}
	close_model(b);
}

static void graph_again(bytes *b)
{
	for (int i = 0; i < 100000; i++)
		bytes_field(b, 7, "", 0);
	bytes_number(b, 1, 8);
}

static void graph_twice_deep(bytes *b)
{
	for (int i = 0; i < 2; i++) {
		size_t before = b->n;
		bytes_text(b, 2, "g");
		bytes_wrap(b, 6, before);
	}
	bytes_wrap(b, 5, 0);
	bytes_wrap(b, 1, 0);
	close_model(b);
}

static void long_length(bytes *b)
{
	bytes_put(b, "x", 1);
	bytes_varint(b, 100);
	bytes_tag(b, 2, 2);
	close_model(b);
}

static void huge_length(bytes *b)
{
	bytes_put(b, "x", 1);
	bytes_varint(b, 0xfffffff0u);
	bytes_tag(b, 2, 2);
	close_model(b);
}

static void overlong_length(bytes *b)
{
	bytes_put(b, "x", 1);
	bytes_put(b, "\x80\x80\x80\x80\x80\x00", 6);
	bytes_tag(b, 2, 2);
	close_model(b);
}

static void child_past_parent(bytes *b)
{
	bytes_number(b, 1, 1); /* stays outside of the node */
	size_t node = b->n;
	bytes_text(b, 4, "Relu");
	uint8_t *length = b->at + b->cap - b->n + 1;
	*length = 12;
	bytes_wrap(b, 1, node);
	close_model(b);
}

static void endless_number(bytes *b)
{
	bytes_put(b, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11);
	bytes_tag(b, 5, 0);
	bytes_number(b, 1, 8);
}

static void nul_in_name(bytes *b)
{
	bytes_field(b, 2, "good\0../x", 9);
	close_model(b);
}

static void bad_utf8(bytes *b)
{
	bytes_field(b, 2, "gr\xc0\xafph", 6);
	close_model(b);
}

static void surrogate(bytes *b)
{
	bytes_field(b, 2, "gr\xed\xa0\x80ph", 7);
	close_model(b);
}

static void group(bytes *b)
{
	bytes_tag(b, 3, 4);
	bytes_tag(b, 3, 3);
	close_model(b);
}

static void field_zero(bytes *b)
{
	bytes_put(b, "\x80\x00\x00", 3);
	close_model(b);
}

static void wire_7(bytes *b)
{
	bytes_tag(b, 3, 7);
	close_model(b);
}

static void wrong_wire(bytes *b)
{
	bytes_number(b, 2, 1); /* graph.name as a number */
	close_model(b);
}

static void cut_double(bytes *b)
{
	bytes_put(b, "1234", 4);
	bytes_tag(b, 9, 1);
	close_model(b);
}

static void ragged_floats(bytes *b)
{
	bytes_field(b, 4, "12345", 5);
	bytes_wrap(b, 5, 0);
	close_model(b);
}

static void two_types(bytes *b)
{
	bytes_field(b, 4, "", 0);
	bytes_field(b, 1, "", 0);
	bytes_wrap(b, 2, 0);
	bytes_wrap(b, 11, 0);
	close_model(b);
}

static void many_dims(bytes *b)
{
	for (int i = 0; i < 1000; i++)
		bytes_number(b, 1, 1);
	bytes_wrap(b, 5, 0);
	close_model(b);
}

static void long_name(bytes *b)
{
	static char name[100000];
	memset(name, 'a', sizeof name);
	bytes_field(b, 2, name, sizeof name);
	close_model(b);
}

/* A float tensor "w" of these dims with n bytes of raw_data. */
static void tensor(bytes *b, int rank, const int64_t *dims, size_t n)
{
	static const char zeros[4096];
	bytes_field(b, 9, zeros, n);
	bytes_text(b, 8, "w");
	bytes_number(b, 2, 1);
	for (int i = rank; i-- > 0;)
		bytes_number(b, 1, (uint64_t)dims[i]);
	bytes_wrap(b, 5, 0);
	close_model(b);
}

static void dims_overflow(bytes *b)
{
	tensor(b, 3, (const int64_t[]){1ll << 31, 1ll << 31, 4}, 16);
}

static void dims_wrap_to_zero(bytes *b)
{
	tensor(b, 2, (const int64_t[]){1ll << 32, 1ll << 32}, 0);
}

static void dims_negative(bytes *b)
{
	tensor(b, 2, (const int64_t[]){-1, -4}, 16);
}

static void dims_too_large(bytes *b)
{
	tensor(b, 1, (const int64_t[]){1ll << 39}, 16);
}

static void raw_too_short(bytes *b)
{
	tensor(b, 1, (const int64_t[]){1000}, 3999);
}

static void raw_too_long(bytes *b)
{
	tensor(b, 1, (const int64_t[]){1000}, 4001);
}

static void sparse_bomb(bytes *b)
{
	size_t at = b->n;
	bytes_number(b, 3, 1ull << 50);
	size_t indices = b->n;
	bytes_number(b, 7, 0);
	bytes_number(b, 2, 7);
	bytes_number(b, 1, 1);
	bytes_wrap(b, 2, indices);
	size_t values = b->n;
	bytes_field(b, 9, "1234", 4);
	bytes_text(b, 8, "s");
	bytes_number(b, 2, 1);
	bytes_number(b, 1, 1);
	bytes_wrap(b, 1, values);
	bytes_wrap(b, 15, at);
	close_model(b);
}

static void unknown_dtype(bytes *b)
{
	bytes_text(b, 8, "w");
	bytes_number(b, 2, 99);
	bytes_wrap(b, 5, 0);
	close_model(b);
}

static void no_operator(bytes *b)
{
	bytes_text(b, 3, "nameless");
	bytes_wrap(b, 1, 0);
	close_model(b);
}

static void node(bytes *b, const char *op, const char *in, const char *out)
{
	size_t before = b->n;
	bytes_text(b, 4, op);
	bytes_text(b, 2, out);
	bytes_text(b, 1, in);
	bytes_wrap(b, 1, before);
}

static void dangling(bytes *b)
{
	node(b, "Relu", "nowhere", "y");
	close_model(b);
}

static void cycle(bytes *b)
{
	node(b, "Relu", "b", "a");
	node(b, "Relu", "a", "b");
	close_model(b);
}

static void self_cycle(bytes *b)
{
	node(b, "Relu", "a", "a");
	close_model(b);
}

static void made_twice(bytes *b)
{
	size_t before = b->n;
	node(b, "Relu", "x", "a");
	node(b, "Relu", "x", "a");
	size_t input = b->n;
	bytes_text(b, 1, "x");
	bytes_wrap(b, 11, input);
	(void)before;
	close_model(b);
}

static void no_graph(bytes *b)
{
	bytes_number(b, 1, 8);
}

static void png(bytes *b)
{
	bytes_put(b, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
}

static void zip(bytes *b)
{
	bytes_put(b, "PK\x03\x04\x14\0\0\0\x08\0", 10);
}

typedef struct bad {
	const char *name;
	void (*make)(bytes *b);
	pai_status status;
	const char *says; /* part of the message */
	const char *path; /* part of the field path, NULL: any */
} bad;

#define GRAPH_PATH "graph"

static const bad cases[] = {
	{"deep 40", deep_40, PAI_LIMIT, "nest deeper", "attribute[0].g"},
	{"deep 10000", deep_10000, PAI_LIMIT, "nest deeper", "attribute[0].g"},
	{"deep types", deep_types, PAI_LIMIT, "nest deeper", "elem_type"},
	{"empty attributes", empty_attributes, PAI_LIMIT, "attributes", "graph.node[0].attribute"},
	{"function defaults", function_defaults, PAI_LIMIT, "attributes",
	 "functions[0].attribute_proto"},
	{"operator sets", many_opsets, PAI_LIMIT, "opsets", "opset_import"},
	{"empty tensors", empty_tensors, PAI_LIMIT, "decoder_bytes", "graph.initializer"},
	{"empty nodes", empty_nodes, PAI_LIMIT, "decoder_bytes", "graph.node"},
	{"empty strings", empty_strings, PAI_LIMIT, "inputs", "graph.node[0].input"},
	{"empty annotations", empty_annotations, PAI_LIMIT, "decoder_bytes", "quantization"},
	{"empty value infos", empty_value_infos, PAI_LIMIT, "decoder_bytes", "value_info"},
	{"unknown numbers", unknown_numbers, PAI_LIMIT, "decoder_bytes", GRAPH_PATH},
	{"small nodes", small_nodes, PAI_LIMIT, "decoder_bytes", "graph.node"},
	{"graph again", graph_again, PAI_INVALID, "again", GRAPH_PATH},
	{"attribute graph twice", graph_twice_deep, PAI_INVALID, "again",
	 "graph.node[0].attribute[0].g"},
	{"long length", long_length, PAI_INVALID, "length of 100", "graph.name"},
	{"huge length", huge_length, PAI_INVALID, "length of 4294967280", "graph.name"},
	{"over-long length", overlong_length, PAI_INVALID, "does not end", "graph.name"},
	{"child past parent", child_past_parent, PAI_INVALID, "length of 12",
	 "graph.node[0].op_type"},
	{"endless number", endless_number, PAI_INVALID, "does not end", "model_version"},
	{"NUL in a name", nul_in_name, PAI_INVALID, "NUL", "graph.name"},
	{"bad UTF-8", bad_utf8, PAI_INVALID, "UTF-8", "graph.name"},
	{"surrogate", surrogate, PAI_INVALID, "UTF-8", "graph.name"},
	{"group", group, PAI_INVALID, "group", GRAPH_PATH},
	{"field 0", field_zero, PAI_INVALID, "field number 0", GRAPH_PATH},
	{"wire type 7", wire_7, PAI_INVALID, "wire type 7", GRAPH_PATH},
	{"wrong wire type", wrong_wire, PAI_INVALID, "wire type 0", "graph.name"},
	{"cut double", cut_double, PAI_INVALID, "does not end", GRAPH_PATH},
	{"ragged floats", ragged_floats, PAI_INVALID, "whole number", "initializer[0].float_data"},
	{"two types", two_types, PAI_INVALID, "second value", "graph.input[0].type"},
	{"many dims", many_dims, PAI_LIMIT, "rank", "graph.initializer[0].dims"},
	{"long name", long_name, PAI_LIMIT, "name_bytes", "graph.name"},
	{"dims overflow", dims_overflow, PAI_LIMIT, "tensor_elements", NULL},
	{"dims wrap to zero", dims_wrap_to_zero, PAI_LIMIT, "tensor_elements", NULL},
	{"dims negative", dims_negative, PAI_INVALID, "dimension 0", NULL},
	{"dims too large", dims_too_large, PAI_INVALID, "raw_data", NULL},
	{"raw too short", raw_too_short, PAI_INVALID, "3999", NULL},
	{"raw too long", raw_too_long, PAI_INVALID, "4001", NULL},
	{"sparse bomb", sparse_bomb, PAI_LIMIT, "tensor_elements", NULL},
	{"unknown dtype", unknown_dtype, PAI_INVALID, "element type 99", NULL},
	{"no operator", no_operator, PAI_INVALID, "no operator", "graph.node[0]"},
	{"dangling", dangling, PAI_INVALID, "nothing", NULL},
	{"cycle", cycle, PAI_INVALID, "itself", NULL},
	{"cycle of one", self_cycle, PAI_INVALID, "itself", NULL},
	{"made twice", made_twice, PAI_INVALID, "twice", NULL},
	{"no graph", no_graph, PAI_INVALID, "no graph", NULL},
	{"PNG", png, PAI_INVALID, "", NULL},
	{"zip", zip, PAI_INVALID, "", NULL},
};

#if defined(__SANITIZE_ADDRESS__)
enum { LONGEST = 20 }; /* seconds; the sanitizer takes ten times the time */
#else
enum { LONGEST = 2 };
#endif

static void check_case(const bad *c)
{
	counted memory = {0};
	pai_allocator allocator = {counted_alloc, counted_free, &memory};
	bytes b = {0};
	c->make(&b);
	pai_ctx *ctx = pai_ctx_new(&allocator);
	pai_model *m = NULL;
	double start = seconds();
	pai_status s = pai_model_parse(ctx, "bad.onnx", bytes_data(&b), b.n, &m);
	double took = seconds() - start;
	if (s != c->status || errors(ctx) != 1)
		fail_msg("%s: status %d, %d errors", c->name, (int)s, errors(ctx));
	const pai_diag *d = pai_diag_get(ctx, 0);
	if (!strstr(d->text, c->says) || !d->file || strcmp(d->file, "bad.onnx") != 0 ||
	    (c->path && (!d->path || !strstr(d->path, c->path))))
		fail_msg("%s: says \"%s: %s\"", c->name, d->where, d->text);
	if (d->code < 305 && d->byte < 0)
		fail_msg("%s: names no byte", c->name);
	if (took > LONGEST || memory.most + b.n > MOST_MEMORY)
		fail_msg("%s: %.2f s, %zu bytes", c->name, took, memory.most);
	pai_ctx_free(ctx);
	assert_int_equal(memory.n_live, 0);
	free(memory.live);
	free(b.at);
}

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check_case(&cases[i]);
}

/* Reads, and where that succeeds packs again. Whatever the bytes are, it must end well. */
static void try_bytes(const uint8_t *p, size_t n)
{
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = NULL;
	pai_status s = pai_model_parse(ctx, "mutant.onnx", p, n, &m);
	if (s == PAI_OK) {
		m->epoch = 1;
		assert_int_equal(pai_model_write(m, "/dev/null", NULL), PAI_OK);
		pai_model_free(m);
	} else {
		assert_true(s == PAI_INVALID || s == PAI_LIMIT);
		assert_int_equal(errors(ctx), 1);
	}
	pai_ctx_free(ctx);
}

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void mutate(const pai_file *f, int flips)
{
	uint8_t *p = malloc(f->size + 1);
	uint64_t x = 88172645463325252u;
	size_t step = f->size / 500 + 1;
	for (size_t n = 0; n < f->size; n += step) {
		memcpy(p, f->data, n);
		try_bytes(p, n);
	}
	for (int i = 0; i < flips; i++) {
		memcpy(p, f->data, f->size);
		for (uint64_t k = next_random(&x) % 3 + 1; k; k--)
			p[next_random(&x) % f->size] = (uint8_t)next_random(&x);
		try_bytes(p, f->size);
	}
	free(p);
}

static void test_mutants(void **state)
{
	(void)state;
	pai_ctx *ctx = pai_ctx_new(NULL);
	DIR *d = opendir(PAI_TEST_DATA "/models");
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));) {
		char path[4096];
		if (!strstr(e->d_name, ".onnx"))
			continue;
		snprintf(path, sizeof path, PAI_TEST_DATA "/models/%s", e->d_name);
		pai_arena *a = pai_arena_new(ctx);
		pai_file f = {0};
		assert_int_equal(pai_file_open(ctx, a, path, &f), PAI_OK);
		mutate(&f, 400);
		pai_arena_free(a);
	}
	closedir(d);
	pai_ctx_free(ctx);
}

/* Unknown fields at every level come back. */
static void test_unknown_fields(void **state)
{
	(void)state;
	bytes b = {0};
	bytes_text(&b, 99, "of the attribute");
	bytes_number(&b, 20, 2);
	bytes_number(&b, 3, 5);
	bytes_text(&b, 1, "axis");
	bytes_wrap(&b, 5, 0);
	bytes_text(&b, 98, "of the node");
	bytes_text(&b, 4, "Thing");
	bytes_wrap(&b, 1, 0);
	bytes_text(&b, 97, "of the graph");
	bytes_wrap(&b, 7, 0);
	bytes_number(&b, 96, 12345);
	bytes_number(&b, 1, 8);
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = NULL;
	assert_int_equal(pai_model_parse(ctx, "unknown.onnx", bytes_data(&b), b.n, &m), PAI_OK);
	m->epoch = 1;
	char path[] = "/tmp/pai-unknown-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(pai_model_write(m, path, NULL), PAI_OK);
	pai_arena *a = pai_arena_new(ctx);
	pai_file f = {0};
	assert_int_equal(pai_file_open(ctx, a, path, &f), PAI_OK);
	const char *kept[] = {"of the attribute", "of the node", "of the graph"};
	for (size_t i = 0; i < 3; i++)
		assert_non_null(memmem(f.data, f.size, kept[i], strlen(kept[i])));
	assert_int_equal(f.size, b.n);
	remove(path);
	pai_arena_free(a);
	pai_model_free(m);
	pai_ctx_free(ctx);
	free(b.at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_mutants),
		cmocka_unit_test(test_unknown_fields),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

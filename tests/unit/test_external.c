/* test_external.c -- data files beside the model: what may be read, and how they are written. */
#include "compiler/ctx.h"
#include "compiler/wire.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The folder of every test:
 *   out/secret            the canary
 *   dir/model.onnx        made by write_model
 *   dir/w.data  dir/sub/w.data  dir/link  dir/out-link  dir/linked/  dir/hard  dir/fifo
 *   blobs/m  blobs/w   snap/model.onnx -> ../blobs/m  snap/w.data -> ../blobs/w */
static char root[64];

static const char *in_root(const char *name)
{
	static char path[4][512];
	static int k;
	k = (k + 1) % 4;
	snprintf(path[k], sizeof path[k], "%s/%s", root, name);
	return path[k];
}

static void put_file(const char *name, const void *from, size_t n)
{
	FILE *f = fopen(in_root(name), "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(from, 1, n, f), n);
	fclose(f);
}

static int set_up(void **state)
{
	(void)state;
	static const char *const folders[] = {"out", "dir", "dir/sub", "blobs", "snap", "to"};
	uint8_t data[4096];
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(i * 7);
	strcpy(root, "/tmp/pai-external-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
		mkdir(in_root(folders[i]), 0755);
	put_file("out/secret", data, sizeof data);
	put_file("out/hard", data, sizeof data);
	put_file("dir/w.data", data, sizeof data);
	put_file("dir/sub/w.data", data, sizeof data);
	put_file("blobs/w", data, sizeof data);
	put_file("dir/..data", data, sizeof data);
	int failed =
		symlink("w.data", in_root("dir/link")) |
		symlink("../out/secret", in_root("dir/out-link")) |
		symlink("../out", in_root("dir/linked")) | symlink("sub", in_root("dir/inner")) |
		symlink("/proc/self/root/etc/hostname", in_root("dir/magic")) |
		link(in_root("out/hard"), in_root("dir/hard")) | mkfifo(in_root("dir/fifo"), 0644) |
		symlink("../blobs/m", in_root("snap/model.onnx")) |
		symlink("../blobs/w", in_root("snap/w.data")) |
		symlink("../out/secret", in_root("snap/bad.data"));
	return failed ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	char command[128];
	snprintf(command, sizeof command, "rm -rf %s", root);
	return system(command);
}

typedef struct entry {
	const char *key, *value;
} entry;

/* A model with one initialiser w: float[n] in a data file. */
static void write_model(const char *name, int64_t n, int n_entries, const entry *entries)
{
	Onnx__StringStringEntryProto e[4], *pe[4];
	for (int i = 0; i < n_entries; i++) {
		onnx__string_string_entry_proto__init(&e[i]);
		e[i].key = (char *)entries[i].key;
		e[i].value = (char *)entries[i].value;
		pe[i] = &e[i];
	}
	Onnx__TensorProto w = ONNX__TENSOR_PROTO__INIT, *pw = &w;
	w.name = (char *)"w";
	w.n_dims = 1;
	w.dims = &n;
	w.has_data_type = 1;
	w.data_type = PAI_FLOAT;
	w.has_data_location = 1;
	w.data_location = 1;
	w.n_external_data = (size_t)n_entries;
	w.external_data = pe;
	Onnx__GraphProto g = ONNX__GRAPH_PROTO__INIT;
	g.n_initializer = 1;
	g.initializer = &pw;
	Onnx__ValueInfoProto out = ONNX__VALUE_INFO_PROTO__INIT, *pout = &out;
	out.name = (char *)"w";
	g.n_output = 1;
	g.output = &pout;
	Onnx__OperatorSetIdProto set = ONNX__OPERATOR_SET_ID_PROTO__INIT, *pset = &set;
	set.has_version = 1;
	set.version = 17;
	Onnx__ModelProto m = ONNX__MODEL_PROTO__INIT;
	m.has_ir_version = 1;
	m.ir_version = 8;
	m.graph = &g;
	m.n_opset_import = 1;
	m.opset_import = &pset;
	uint8_t buffer[4096];
	assert_true(onnx__model_proto__get_packed_size(&m) < sizeof buffer);
	put_file(name, buffer, onnx__model_proto__pack(&m, buffer));
}

static void write_model_at(const char *name, const char *location)
{
	write_model(name, 1000, 1, &(entry){"location", location});
}

typedef struct location_case {
	const char *location;
	pai_status status;
	pai_code code; /* of the error */
} location_case;

static const location_case locations[] = {
	{"w.data", PAI_OK, 0},
	{"./w.data", PAI_OK, 0},
	{"sub/w.data", PAI_OK, 0},
	{"sub//w.data", PAI_OK, 0},
	{"inner/w.data", PAI_OK, 0},
	{"link", PAI_OK, 0},
	{"..data", PAI_OK, 0},
	{"", PAI_INVALID, PAI_E_external_entry},
	{"/etc/hostname", PAI_INVALID, PAI_E_external_path},
	{"//etc/hostname", PAI_INVALID, PAI_E_external_path},
	{"..", PAI_INVALID, PAI_E_external_path},
	{"../out/secret", PAI_INVALID, PAI_E_external_path},
	{"../dir/w.data", PAI_INVALID, PAI_E_external_path},
	{"sub/../../out/secret", PAI_INVALID, PAI_E_external_path},
	{"sub/../w.data", PAI_INVALID, PAI_E_external_path},
	{"sub/..", PAI_INVALID, PAI_E_external_path},
	{"./../out/secret", PAI_INVALID, PAI_E_external_path},
	{".//..//out/secret", PAI_INVALID, PAI_E_external_path},
	{"out-link", PAI_INVALID, PAI_E_external_path},
	{"linked/secret", PAI_INVALID, PAI_E_external_path},
	{"magic", PAI_INVALID, PAI_E_external_path},
	{"*/_ORT_MEM_ADDR_/*", PAI_INVALID, PAI_E_external_path},
	{"hard", PAI_LIMIT, PAI_E_hard_link},
	{"fifo", PAI_IO, PAI_E_not_regular},
	{"sub", PAI_IO, PAI_E_not_regular},
	{".", PAI_IO, PAI_E_not_regular},
	{"missing", PAI_IO, PAI_E_cannot_open},
	{"w.data/x", PAI_IO, PAI_E_cannot_open},
};

/* Notes a descriptor of the canary. */
typedef struct guarded {
	pai_io io;
	bool touched;
} guarded;

static int guard(guarded *g, int fd)
{
	struct stat st, secret;
	if (fd >= 0 && fstat(fd, &st) == 0 && stat(in_root("out/secret"), &secret) == 0)
		g->touched |= st.st_ino == secret.st_ino && st.st_dev == secret.st_dev;
	return fd;
}

static int guarded_open(void *payload, int dirfd, const char *path, int flags, unsigned mode)
{
	return guard(payload, openat(dirfd, path, flags, mode));
}

static int guarded_beneath(void *payload, int dirfd, const char *path, int flags)
{
	return guard(payload, pai_io_posix.open_beneath(NULL, dirfd, path, flags));
}

static int guarded_steps(void *payload, int dirfd, const char *path, int flags)
{
	return guard(payload, pai_open_by_steps(dirfd, path, flags));
}

static pai_status read_by(const char *path, guarded *g, pai_code *code,
			  int (*beneath)(void *payload, int dirfd, const char *path, int flags))
{
	pai_ctx *ctx = pai_ctx_new(NULL);
	*g = (guarded){.io = pai_io_posix};
	g->io.open = guarded_open;
	g->io.open_beneath = beneath;
	g->io.payload = g;
	ctx->io = &g->io;
	pai_model *m = NULL;
	pai_status s = pai_model_read(ctx, path, &m);
	*code = s ? pai_diag_get(ctx, 0)->code : 0;
	if (s && (pai_diag_count(ctx) != 1 || !pai_diag_get(ctx, 0)->file))
		fail_msg("%d messages", pai_diag_count(ctx));
	if (s == PAI_OK) { /* 7, 14, 21, ...: the data that set_up wrote */
		const uint8_t *data = m->graph->inits.at[0]->init->data;
		assert_int_equal((uint8_t)(data[1] - data[0]), 7);
	}
	pai_model_free(m);
	pai_ctx_free(ctx);
	return s;
}

static pai_status read_at(const char *path, guarded *g, pai_code *code)
{
	return read_by(path, g, code, guarded_beneath);
}

static void test_locations(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof locations / sizeof *locations; i++) {
		const location_case *c = &locations[i];
		pai_code code;
		guarded g;
		write_model_at("dir/model.onnx", c->location);
		pai_status s = read_at(in_root("dir/model.onnx"), &g, &code);
		if (s != c->status || code != c->code || g.touched)
			fail_msg("\"%s\": status %d, E%04d%s", c->location, (int)s, (int)code,
				 g.touched ? ", canary opened" : "");
	}
}

/* The same without openat2: no link is followed inside the folder, so links are refused as well. */
static void test_locations_by_steps(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof locations / sizeof *locations; i++) {
		const location_case *c = &locations[i];
		bool is_link = strstr(c->location, "link") || strstr(c->location, "inner");
		pai_code code;
		guarded g;
		write_model_at("dir/model.onnx", c->location);
		pai_status s = read_by(in_root("dir/model.onnx"), &g, &code, guarded_steps);
		bool right = is_link ? s == PAI_OK || s == PAI_INVALID || s == PAI_IO
				     : s == c->status && code == c->code;
		if (!right || g.touched)
			fail_msg("\"%s\": status %d, E%04d%s", c->location, (int)s, (int)code,
				 g.touched ? ", canary opened" : "");
	}
}

static void test_hard_link_allowed(void **state)
{
	(void)state;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = NULL;
	write_model_at("dir/model.onnx", "hard");
	ctx->limits.hard_links = 2;
	assert_int_equal(pai_model_read(ctx, in_root("dir/model.onnx"), &m), PAI_OK);
	pai_model_free(m);
	pai_ctx_free(ctx);
}

/* A cache of blobs: the model and its data are links to files beside each other. */
static void test_cache_layout(void **state)
{
	(void)state;
	pai_code code;
	guarded g;
	write_model_at("blobs/m", "w.data");
	assert_int_equal(read_at(in_root("snap/model.onnx"), &g, &code), PAI_OK);
	write_model_at("blobs/m", "bad.data");
	assert_int_equal(read_at(in_root("snap/model.onnx"), &g, &code), PAI_INVALID);
	assert_false(g.touched);
}

/* As from the folder itself: a path without a slash. */
static void test_relative(void **state)
{
	(void)state;
	char before[512];
	pai_code code;
	guarded g;
	write_model_at("dir/model.onnx", "w.data");
	assert_non_null(getcwd(before, sizeof before));
	assert_int_equal(chdir(in_root("dir")), 0);
	pai_status s = read_at("model.onnx", &g, &code);
	assert_int_equal(chdir(before), 0);
	assert_int_equal(s, PAI_OK);
}

static void test_extents(void **state)
{
	(void)state;
	static const char *const numbers[] = {
		"0",
		"1",
		"96",
		"97",
		"4095",
		"4096",
		"4097",
		"2147483648",
		"4294967296",
		"-1",
		"9223372036854775808",
		"18446744073709551615",
		" 1",
		"1 ",
		"0x10",
		"18446744073709551616",
		"",
		"1e3",
		"+1",
		"99999999999999999999999",
	};
	const size_t n = sizeof numbers / sizeof *numbers;
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k <= n; k++) {
			entry e[] = {{"location", "w.data"},
				     {"offset", numbers[i]},
				     {"length", k < n ? numbers[k] : "4000"}};
			pai_code code;
			guarded g;
			write_model("dir/model.onnx", 1000, 3, e);
			pai_status s = read_at(in_root("dir/model.onnx"), &g, &code);
			bool good = k == n && (i == 0 || i == 1 || i == 2);
			if (good != (s == PAI_OK) || (!good && code != PAI_E_external_entry))
				fail_msg("offset %s, length %s: status %d", e[1].value, e[2].value,
					 (int)s);
		}
	}
	entry twice[] = {{"location", "w.data"}, {"offset", "0"}, {"offset", "4"}};
	pai_code code;
	guarded g;
	write_model("dir/model.onnx", 1000, 3, twice);
	assert_int_equal(read_at(in_root("dir/model.onnx"), &g, &code), PAI_INVALID);
	write_model("dir/model.onnx", 1ll << 38, 1, &(entry){"location", "w.data"});
	assert_int_equal(read_at(in_root("dir/model.onnx"), &g, &code), PAI_INVALID);
}

static bool same_contents(const char *a, const char *b)
{
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_arena *arena = pai_arena_new(ctx);
	pai_file f = {0}, g = {0};
	bool same = pai_file_open(ctx, arena, a, &f) == PAI_OK &&
		    pai_file_open(ctx, arena, b, &g) == PAI_OK && f.size == g.size &&
		    memcmp(f.data, g.data, f.size) == 0;
	pai_arena_free(arena);
	pai_ctx_free(ctx);
	return same;
}

typedef struct write_case {
	const char *what;
	pai_external_mode mode;
	const char *name; /* of the data file */
	const char *out;
	bool changed;
	pai_status status;
	const char *location; /* in the output, "": any, NULL: inline */
} write_case;

static const write_case writes[] = {
	{"unchanged", PAI_EXTERNAL_KEEP, NULL, "to/m.onnx", false, PAI_OK, "w.data"},
	{"unchanged, same folder", PAI_EXTERNAL_KEEP, NULL, "dir/m.onnx", false, PAI_OK, "w.data"},
	{"changed", PAI_EXTERNAL_KEEP, NULL, "to/m.onnx", true, PAI_OK, ""},
	{"over itself", PAI_EXTERNAL_KEEP, NULL, "dir/model.onnx", true, PAI_OK, ""},
	{"named", PAI_EXTERNAL_FILE, "mine.data", "to/m.onnx", true, PAI_OK, "mine.data"},
	{"named as its input", PAI_EXTERNAL_FILE, "w.data", "dir/m.onnx", true, PAI_OK, "w.data"},
	{"to a folder", PAI_EXTERNAL_FILE, "../mine.data", "to/m.onnx", true, PAI_INVALID, NULL},
	{"over the model", PAI_EXTERNAL_FILE, "m.onnx", "to/m.onnx", true, PAI_INVALID, NULL},
	{"inline", PAI_EXTERNAL_NONE, NULL, "to/m.onnx", false, PAI_OK, NULL},
	{"shared", PAI_EXTERNAL_SHARE, NULL, "dir/m.onnx", true, PAI_OK, "w.data"},
	{"shared from above", PAI_EXTERNAL_SHARE, NULL, "m.onnx", true, PAI_OK, "dir/w.data"},
	{"shared from beside", PAI_EXTERNAL_SHARE, NULL, "to/m.onnx", true, PAI_USAGE, NULL},
};

static void check_write(const write_case *c)
{
	write_model_at("dir/model.onnx", "w.data");
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = NULL, *back = NULL;
	char out[512];
	snprintf(out, sizeof out, "%s/%s", root, c->out);
	assert_int_equal(pai_model_read(ctx, in_root("dir/model.onnx"), &m), PAI_OK);
	m->epoch = c->changed;
	pai_write_options o = {.external = c->mode, .external_name = c->name};
	pai_status s = pai_model_write(m, out, &o);
	if (s != c->status)
		fail_msg("%s: status %d", c->what, (int)s);
	if (s == PAI_OK) {
		assert_int_equal(pai_model_read(ctx, out, &back), PAI_OK);
		const pai_tensor *t = m->graph->inits.at[0]->init;
		const pai_tensor *u = back->graph->inits.at[0]->init;
		const char *location = pai_external_location(u);
		if (!pai_tensor_equal(t, u) || !c->location != !location ||
		    (location && *c->location && strcmp(location, c->location) != 0))
			fail_msg("%s: contents at %s", c->what, location ? location : "home");
		if (!c->changed && c->mode == PAI_EXTERNAL_KEEP)
			assert_true(same_contents(out, in_root("dir/model.onnx")));
	}
	pai_model_free(back);
	pai_model_free(m);
	pai_ctx_free(ctx);
}

static void test_writes(void **state)
{
	for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
		check_write(&writes[i]);
		assert_int_equal(tear_down(state), 0);
		assert_int_equal(set_up(state), 0);
	}
}

/* Data in a folder below stays there when the model is written beside itself unchanged. */
static void test_below_unchanged(void **state)
{
	(void)state;
	write_model_at("dir/model.onnx", "sub/w.data");
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = NULL;
	assert_int_equal(pai_model_read(ctx, in_root("dir/model.onnx"), &m), PAI_OK);
	assert_int_equal(pai_model_write(m, in_root("dir/m.onnx"), NULL), PAI_OK);
	assert_true(same_contents(in_root("dir/m.onnx"), in_root("dir/model.onnx")));
	assert_int_equal(pai_model_write(m, in_root("to/m.onnx"), NULL), PAI_OK);
	assert_false(same_contents(in_root("to/m.onnx"), in_root("dir/model.onnx")));
	pai_model_free(m);
	pai_ctx_free(ctx);
}

/* A file of that name that is not ours is never replaced by a copy. */
static void test_nothing_replaced(void **state)
{
	(void)state;
	put_file("to/w.data", "precious", 8);
	write_model_at("dir/model.onnx", "w.data");
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = NULL, *back = NULL;
	assert_int_equal(pai_model_read(ctx, in_root("dir/model.onnx"), &m), PAI_OK);
	assert_int_equal(pai_model_write(m, in_root("to/m.onnx"), NULL), PAI_OK);
	assert_int_equal(pai_model_read(ctx, in_root("to/m.onnx"), &back), PAI_OK);
	assert_true(pai_tensor_equal(m->graph->inits.at[0]->init, back->graph->inits.at[0]->init));
	put_file("out/expected", "precious", 8);
	assert_true(same_contents(in_root("to/w.data"), in_root("out/expected")));
	pai_model_free(back);
	pai_model_free(m);
	pai_ctx_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_locations, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_locations_by_steps, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hard_link_allowed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cache_layout, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_relative, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_extents, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_writes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_below_unchanged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nothing_replaced, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

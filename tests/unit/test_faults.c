/* test_faults.c -- reading and writing a model while memory and the operating system fail.
 *
 * Every allocation fails in turn, then every call of the io table, once and from there on. After
 * each run the output is the old file or the complete new one, and nothing else is left.
 */
#include "compiler/ctx.h"
#include "tests/unit/onnx_bytes.h"
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

static char folder[] = "/tmp/pai-faults-XXXXXX";
static char output[64];
static const char *const models[] = {
	PAI_TEST_DATA "/models/own_loop_if.onnx",
	PAI_TEST_DATA "/models/own_mlp_external.onnx",
};

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(output, sizeof output, "%s/out.onnx", folder);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	char command[128];
	snprintf(command, sizeof command, "rm -rf %s", folder);
	return system(command);
}

static size_t read_file(const char *path, uint8_t *to, size_t cap)
{
	FILE *f = fopen(path, "rb");
	size_t n = f ? fread(to, 1, cap, f) : 0;
	if (f)
		fclose(f);
	return n;
}

static void put_old(void)
{
	FILE *f = fopen(output, "wb");
	assert_non_null(f);
	fputs("the old file", f);
	fclose(f);
}

/* Nothing but outputs, data files and (where unlink itself failed) temporary files. */
static int temporary_files(void)
{
	int n = 0;
	DIR *d = opendir(folder);
	for (struct dirent *e; (e = readdir(d));)
		n += strstr(e->d_name, ".tmp") != NULL;
	closedir(d);
	return n;
}

static void remove_temporary_files(void)
{
	DIR *d = opendir(folder);
	for (struct dirent *e; (e = readdir(d));) {
		char path[512];
		snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
		if (strstr(e->d_name, ".tmp"))
			unlink(path);
	}
	closedir(d);
}

/* 'o' the old file, 'n' a model that reads, 'x' neither. */
static char what_is_there(void)
{
	uint8_t data[16];
	size_t n = read_file(output, data, sizeof data);
	if (n == 12 && memcmp(data, "the old file", n) == 0)
		return 'o';
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = NULL;
	pai_status s = pai_model_read(ctx, output, &m);
	pai_model_free(m);
	pai_ctx_free(ctx);
	return s == PAI_OK ? 'n' : 'x';
}

static pai_status read_and_write(pai_ctx *ctx, const char *path)
{
	pai_model *m = NULL;
	PAI_TRY(pai_model_read(ctx, path, &m));
	m->epoch = 1;
	pai_write_options o = {.external = PAI_EXTERNAL_FILE};
	pai_status s = pai_model_write(m, output, &o);
	pai_model_free(m);
	return s;
}

static jmp_buf no_memory;

static void jump(pai_ctx *ctx, size_t nbytes)
{
	(void)ctx, (void)nbytes;
	longjmp(no_memory, 1);
}

/* Status of a run in which allocation k fails; *jumped: a small one did, which does not return. */
static pai_status run_without_memory(const char *path, counted *memory, long k, bool sticky,
				     bool *jumped)
{
	pai_allocator allocator = {counted_alloc, counted_free, memory};
	volatile pai_status s = PAI_NOMEM;
	pai_ctx *ctx = pai_ctx_new(&allocator);
	ctx->on_oom = jump;
	memory->calls = 0;
	memory->fail_at = k;
	memory->sticky = sticky;
	*jumped = true;
	if (setjmp(no_memory) == 0) {
		s = read_and_write(ctx, path);
		*jumped = false;
	}
	memory->fail_at = 0;
	if (!*jumped) {
		pai_ctx_free(ctx);
		assert_int_equal(memory->n_live, 0);
	}
	while (memory->n_live) /* the program would have ended */
		counted_free(memory, memory->live[memory->n_live - 1]);
	return s;
}

static void test_memory(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * (sizeof models / sizeof *models); i++) {
		long k = 1;
		bool jumped, done = false;
		for (; !done && k < 5000; k++) {
			counted memory = {0};
			put_old();
			pai_status s =
				run_without_memory(models[i / 2], &memory, k, i % 2, &jumped);
			done = !jumped && s == PAI_OK && memory.calls < k;
			char there = what_is_there();
			if (there == 'x' || temporary_files() ||
			    (s == PAI_OK ? there != 'n' : s != PAI_NOMEM))
				fail_msg("%s, allocation %ld: status %d, '%c', %d temporary files",
					 models[i / 2], k, (int)s, there, temporary_files());
			free(memory.live);
		}
		print_message("%s: %ld allocations%s\n", models[i / 2], k, i % 2 ? ", sticky" : "");
		assert_true(done);
	}
}

typedef struct faulty { /* the operating system, of which call k fails */
	long calls, fail_at;
	bool sticky, cut;
	int error, open_files;
	bool unlink_failed;
} faulty;

static bool fails(faulty *f)
{
	f->calls++;
	if (f->fail_at && (f->sticky ? f->calls >= f->fail_at : f->calls == f->fail_at)) {
		errno = f->error;
		return true;
	}
	return false;
}

static int f_open(void *p, int dirfd, const char *path, int flags, unsigned mode)
{
	int fd = fails(p) ? -1 : pai_io_posix.open(NULL, dirfd, path, flags, mode);
	((faulty *)p)->open_files += fd >= 0;
	return fd;
}

static int f_open_beneath(void *p, int dirfd, const char *path, int flags)
{
	int fd = fails(p) ? -1 : pai_io_posix.open_beneath(NULL, dirfd, path, flags);
	((faulty *)p)->open_files += fd >= 0;
	return fd;
}

static int64_t f_read(void *p, int fd, void *to, size_t n)
{
	return fails(p) ? -1 : pai_io_posix.read(NULL, fd, to, ((faulty *)p)->cut && n > 7 ? 7 : n);
}

static int64_t f_write(void *p, int fd, const void *from, size_t n)
{
	size_t part = ((faulty *)p)->cut && n > 700 ? 700 : n;
	return fails(p) ? -1 : pai_io_posix.write(NULL, fd, from, part);
}

static int64_t f_copy(void *p, int from, int64_t offset, int to, size_t n)
{
	size_t part = ((faulty *)p)->cut && n > 5000 ? 5000 : n;
	return fails(p) ? -1 : pai_io_posix.copy(NULL, from, offset, to, part);
}

static int f_fsync(void *p, int fd)
{
	return fails(p) ? -1 : pai_io_posix.fsync(NULL, fd);
}

static int f_close(void *p, int fd)
{
	bool failed = fails(p); /* the descriptor is gone in every case */
	((faulty *)p)->open_files--;
	int result = pai_io_posix.close(NULL, fd);
	if (failed)
		errno = ((faulty *)p)->error;
	return failed ? -1 : result;
}

static int f_rename(void *p, const char *from, const char *to)
{
	return fails(p) ? -1 : pai_io_posix.rename(NULL, from, to);
}

static int f_unlink(void *p, const char *path)
{
	if (fails(p)) {
		((faulty *)p)->unlink_failed = true;
		return -1;
	}
	return pai_io_posix.unlink(NULL, path);
}

static void *f_map(void *p, int fd, size_t n)
{
	return fails(p) ? NULL : pai_io_posix.map(NULL, fd, n);
}

static int f_unmap(void *p, void *at, size_t n)
{
	(void)p;
	return pai_io_posix.unmap(NULL, at, n);
}

static pai_status run_with_faults(const char *path, faulty *f)
{
	const pai_io io = {f_open,   f_read, f_write, f_fsync,        f_close, f_rename,
			   f_unlink, f_map,  f_unmap, f_open_beneath, f_copy,  f};
	pai_ctx *ctx = pai_ctx_new(NULL);
	ctx->io = &io;
	pai_status s = read_and_write(ctx, path);
	if (s != PAI_OK)
		assert_true(pai_diag_count(ctx) >= 1);
	pai_ctx_free(ctx);
	assert_int_equal(f->open_files, 0);
	return s;
}

typedef struct fault {
	const char *what;
	int error;
	bool sticky, cut;
} fault;

static void check_faults(const char *path, const fault *kind)
{
	long k = 1;
	for (bool done = false; !done; k++) {
		faulty f = {.fail_at = k, .error = kind->error};
		f.sticky = kind->sticky;
		f.cut = kind->cut;
		put_old();
		pai_status s = run_with_faults(path, &f);
		done = f.calls < k;
		char there = what_is_there();
		bool right = s == PAI_OK ? there == 'n' : s == PAI_IO && there != 'x';
		if (!right || (temporary_files() && !f.unlink_failed))
			fail_msg("%s, %s, call %ld: status %d, '%c', %d temporary files", path,
				 kind->what, k, (int)s, there, temporary_files());
		remove_temporary_files();
		assert_true(k < 1000);
	}
	print_message("%s: %s in %ld calls\n", path, kind->what, k);
}

static void test_system(void **state)
{
	(void)state;
	static const fault kinds[] = {
		{"EIO", EIO, false, false},
		{"ENOSPC", ENOSPC, false, false},
		{"EDQUOT", EDQUOT, false, false},
		{"EINTR", EINTR, false, false},
		{"EIO from then on", EIO, true, false},
		{"ENOSPC from then on", ENOSPC, true, false},
		{"short counts", EIO, false, true},
	};
	for (size_t i = 0; i < sizeof models / sizeof *models; i++)
		for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
			check_faults(models[i], &kinds[k]);
}

/* The real thing: a device that is always full, a folder that is gone. */
static void test_places(void **state)
{
	(void)state;
	static const struct {
		const char *path;
		pai_status status;
	} places[] = {{"/dev/full", PAI_IO},
		      {"/dev/null", PAI_OK},
		      {"/nowhere/at/all.onnx", PAI_IO},
		      {"/tmp", PAI_IO},
		      {"/proc/out.onnx", PAI_IO}};
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		pai_ctx *ctx = pai_ctx_new(NULL);
		pai_model *m = NULL;
		assert_int_equal(pai_model_read(ctx, models[0], &m), PAI_OK);
		assert_int_equal(pai_model_write(m, places[i].path, NULL), places[i].status);
		pai_model_free(m);
		pai_ctx_free(ctx);
	}
}

/* A model may be written over itself, large parts of it still in the old file. */
static void test_in_place(void **state)
{
	(void)state;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = pai_model_new(ctx, "g", 17), *back = NULL, *again = NULL;
	int64_t dims[] = {300000};
	pai_tensor *t = pai_tensor_new(m->arena, PAI_FLOAT, 1, dims);
	for (int64_t i = 0; i < dims[0]; i++)
		pai_tensor_set(t, i, (double)i);
	pai_value *v = pai_graph_add_value(m->graph, "w");
	v->init = t;
	PAI_PUSH(m->arena, m->graph->inits, v);
	m->epoch = 1;
	assert_int_equal(pai_model_write(m, output, NULL), PAI_OK);
	assert_int_equal(pai_model_read(ctx, output, &back), PAI_OK);
	back->epoch = 1;
	back->doc = "something longer, so that everything moves";
	assert_int_equal(pai_model_write(back, output, NULL), PAI_OK);
	assert_int_equal(pai_model_read(ctx, output, &again), PAI_OK);
	assert_string_equal(again->doc, back->doc);
	assert_true(pai_tensor_equal(t, back->graph->inits.at[0]->init));
	assert_true(pai_tensor_equal(t, again->graph->inits.at[0]->init));
	pai_model_free(again);
	pai_model_free(back);
	pai_model_free(m);
	pai_ctx_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_system),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_in_place),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

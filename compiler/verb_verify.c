/* verb_verify.c -- pai-opt verify DIR...: runs folders of the ONNX test suite.
 *
 * A test is a folder with model.onnx and test_data_set_*, each with input_K.pb and output_K.pb; a
 * DIR may be one, or hold them at any of the next two levels. Tests never stop one another: what
 * goes wrong in one is its result. A manifest names tests that are expected to fail, with the
 * reason; one that passes after all is a failure too, so that the manifest stays true. A reason may
 * begin with the code of an error: then any other failure of the test is not the expected one.
 */
#include "compiler/cli.h"
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LEVELS = 2 }; /* between a DIR and the tests it holds */

typedef struct expected { /* a line of the manifest */
	const char *pattern, *reason;
	bool used;
} expected;

typedef struct tolerance {
	double rtol, atol, ulp; /* ulp < 0: not asked for */
} tolerance;

typedef struct result {
	const char *name;   /* "kind/name" */
	const char *reason; /* why it failed; NULL: it passed */
	const char *known;  /* why that was expected; NULL: it was not */
	double abs, rel, ulp;
} result;

typedef struct suite {
	cli *c;
	tolerance tol;
	pai_backend backend;
	PAI_VEC(const char *) folders;
	PAI_VEC(expected) manifest;
	int passed, failed, skipped;
	cJSON *json;
} suite;

static bool is_there(const char *path, bool folder)
{
	struct stat st;
	return stat(path, &st) == 0 && (folder ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Adds the tests at or below a folder. */
static void find_tests(suite *s, const char *path, int levels)
{
	pai_arena *a = s->c->arena;
	if (is_there(pai_arena_printf(a, "%s/model.onnx", path), false)) {
		PAI_PUSH(a, s->folders, path);
		return;
	}
	DIR *dir = levels > 0 ? opendir(path) : NULL;
	if (!dir)
		return;
	PAI_VEC(const char *) inner = {0};
	for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
		if (e->d_name[0] == '.')
			continue;
		const char *below = pai_arena_printf(a, "%s/%s", path, e->d_name);
		if (is_there(below, true))
			PAI_PUSH(a, inner, below);
	}
	closedir(dir);
	if (inner.n)
		qsort(inner.at, (size_t)inner.n, sizeof *inner.at, by_name);
	for (int i = 0; i < inner.n; i++)
		find_tests(s, inner.at[i], levels - 1);
}

/* The last two parts of a path. */
static const char *test_name(pai_arena *a, const char *path)
{
	size_t end = strlen(path), from;
	while (end > 1 && path[end - 1] == '/')
		end--;
	int slashes = 0;
	for (from = end; from > 0; from--)
		if (path[from - 1] == '/' && ++slashes == 2)
			break;
	return pai_arena_strndup(a, path + from, end - from);
}

/* Lines "pattern reason..."; # starts a comment. */
static pai_status read_manifest(suite *s, const char *path)
{
	pai_arena *a = s->c->arena;
	pai_file f;
	PAI_TRY(pai_file_open(s->c->ctx, a, path, &f));
	if (f.size > s->c->ctx->limits.json_bytes)
		return pai_fail(s->c->ctx, PAI_E_limit, pai_at_file(path),
				"has %zu bytes, more than a manifest may have (json_bytes)",
				f.size);
	const char *at = (const char *)f.data, *end = at + f.size;
	while (at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		size_t n = stop ? (size_t)(stop - at) : (size_t)(end - at);
		char *line = pai_arena_strndup(a, at, n);
		at += n + 1;
		size_t word = strcspn(line, " \t");
		if (word == 0 || line[0] == '#')
			continue;
		const char *reason = line + word + strspn(line + word, " \t");
		line[word] = '\0';
		if (!*reason)
			return pai_fail(s->c->ctx, PAI_E_manifest, pai_at_file(path),
					"gives no reason for \"%s\"", pai_escape(a, line));
		expected e = {line, reason, false};
		PAI_PUSH(a, s->manifest, e);
	}
	return PAI_OK;
}

static expected *find_expected(suite *s, const char *name)
{
	for (int i = 0; i < s->manifest.n; i++)
		if (pai_glob(s->manifest.at[i].pattern, name))
			return &s->manifest.at[i];
	return NULL;
}

static bool is_pattern(const expected *e)
{
	return strpbrk(e->pattern, "*?") != NULL;
}

static bool near(const tolerance *t, double got, double want, result *r)
{
	if (got == want || (isnan(got) && isnan(want)))
		return true;
	if (!isfinite(got) || !isfinite(want))
		return false;
	double d = fabs(got - want), u = pai_ulps(PAI_FLOAT, got, want);
	r->abs = d > r->abs ? d : r->abs;
	r->rel = want != 0 && d / fabs(want) > r->rel ? d / fabs(want) : r->rel;
	r->ulp = u > r->ulp ? u : r->ulp;
	return d <= t->atol + t->rtol * fabs(want) || u <= t->ulp;
}

static bool same_element(const tolerance *tol, const pai_tensor *got, const pai_tensor *want,
			 int64_t i, result *r)
{
	pai_dtype_kind kind = pai_dtype_get(got->dtype)->kind;
	if (kind == PAI_KIND_FLOAT)
		return near(tol, pai_tensor_get(got, i), pai_tensor_get(want, i), r);
	if (kind == PAI_KIND_STRING) {
		const pai_str *x = got->data, *y = want->data;
		return x[i].n == y[i].n && memcmp(x[i].at, y[i].at, x[i].n) == 0;
	}
	if (got->dtype == PAI_COMPLEX64) {
		const float *x = got->data, *y = want->data;
		return near(tol, (double)x[2 * i], (double)y[2 * i], r) &&
		       near(tol, (double)x[2 * i + 1], (double)y[2 * i + 1], r);
	}
	if (got->dtype == PAI_COMPLEX128) {
		const double *x = got->data, *y = want->data;
		return near(tol, x[2 * i], y[2 * i], r) && near(tol, x[2 * i + 1], y[2 * i + 1], r);
	}
	return pai_tensor_get_int(got, i) == pai_tensor_get_int(want, i);
}

/* NULL when they agree, else what is wrong. */
static const char *differ(suite *s, pai_arena *a, int k, const pai_tensor *got,
			  const pai_tensor *want, result *r)
{
	if (got->dtype != want->dtype || !pai_same_shape(got, want))
		return pai_arena_printf(a, "output %d is %s, expected %s", k,
					pai_tensor_text(a, got), pai_tensor_text(a, want));
	int64_t wrong = 0, first = -1, n = pai_tensor_nelem(got);
	for (int64_t i = 0; i < n; i++)
		if (!same_element(&s->tol, got, want, i, r) && wrong++ == 0)
			first = i;
	if (!wrong)
		return NULL;
	bool numeric =
		got->dtype != PAI_STRING && pai_dtype_get(got->dtype)->kind != PAI_KIND_COMPLEX;
	return pai_arena_printf(a,
				"output %d: %lld of %lld elements differ; element %lld is %.9g, "
				"expected %.9g",
				k, (long long)wrong, (long long)n, (long long)first,
				numeric ? pai_tensor_get(got, first) : NAN,
				numeric ? pai_tensor_get(want, first) : NAN);
}

static pai_status read_tensor(pai_ctx *ctx, pai_arena *a, const char *path, pai_tensor **out)
{
	pai_file f;
	PAI_TRY(pai_file_open(ctx, a, path, &f));
	return pai_tensor_parse(ctx, a, path, f.data, f.size, out);
}

/* Runs one data set. *reason is set when outputs differ. */
static pai_status run_set(suite *s, pai_arena *a, const pai_model *m, pai_runner *runner,
			  const char *folder, result *r)
{
	pai_ctx *ctx = s->c->ctx;
	pai_value *const *values;
	int n = pai_model_inputs(m, &values), n_out = m->graph->outputs.n;
	const pai_tensor **in = PAI_NEWS(a, const pai_tensor *, n + 1);
	const pai_tensor **out = PAI_NEWS(a, const pai_tensor *, n_out + 1);
	for (int i = 0; i < n; i++) {
		pai_tensor *t;
		if (values[i]->type.kind != PAI_TYPE_TENSOR)
			return pai_fail(ctx, PAI_E_no_kernel, pai_at_value(values[i]),
					"is no tensor; that cannot be executed");
		PAI_TRY(read_tensor(ctx, a, pai_arena_printf(a, "%s/input_%d.pb", folder, i), &t));
		in[i] = t;
	}
	PAI_TRY(pai_runner_run(runner, in, out));
	for (int k = 0; k < n_out && !r->reason; k++) {
		pai_tensor *want;
		const char *path = pai_arena_printf(a, "%s/output_%d.pb", folder, k);
		if (k > 0 && !is_there(path, false))
			return PAI_OK;
		PAI_TRY(read_tensor(ctx, a, path, &want));
		r->reason = differ(s, s->c->arena, k, out[k], want, r);
	}
	return PAI_OK;
}

static pai_status run_model(suite *s, pai_arena *a, const char *folder, result *r)
{
	pai_model *m;
	pai_runner *runner = NULL;
	PAI_TRY(cli_model(s->c, pai_arena_printf(a, "%s/model.onnx", folder), &m));
	pai_plan_options o = {.backend = s->backend};
	pai_status status = pai_runner_new(s->c->ctx, m, &o, &runner);
	for (int k = 0; status == PAI_OK && !r->reason; k++) {
		const char *set = pai_arena_printf(a, "%s/test_data_set_%d", folder, k);
		if (k > 0 && !is_there(set, true))
			break;
		status = run_set(s, a, m, runner, set, r);
	}
	pai_runner_free(runner);
	pai_model_free(m);
	return status;
}

/* Errors of a test are its result, not the program's. */
static void run_test(suite *s, const char *folder, result *r)
{
	pai_ctx *ctx = s->c->ctx;
	void (*listener)(void *, const pai_diag *) = ctx->on_diag;
	pai_arena *a = pai_arena_new(ctx);
	pai_diag_clear(ctx);
	ctx->on_diag = NULL;
	pai_status status = run_model(s, a, folder, r);
	for (int i = 0; status != PAI_OK && !r->reason && i < pai_diag_count(ctx); i++) {
		const pai_diag *d = pai_diag_get(ctx, i);
		if (d->severity == PAI_ERROR)
			r->reason =
				pai_arena_printf(s->c->arena, "E%04d %s%s%s", (int)d->code,
						 d->op ? d->op : "", d->op ? ": " : "", d->text);
	}
	if (status != PAI_OK && !r->reason)
		r->reason = "failed without a message";
	pai_diag_clear(ctx);
	ctx->on_diag = listener;
	pai_arena_free(a);
}

static void add_json(suite *s, const result *r, const char *state)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "name", pai_escape(s->c->arena, r->name));
	cJSON_AddStringToObject(o, "result", state);
	if (r->reason)
		cJSON_AddStringToObject(o, "reason", pai_escape(s->c->arena, r->reason));
	if (r->known)
		cJSON_AddStringToObject(o, "expected", pai_escape(s->c->arena, r->known));
	cJSON_AddNumberToObject(o, "max_abs", r->abs);
	cJSON_AddNumberToObject(o, "max_rel", r->rel);
	cJSON_AddNumberToObject(o, "max_ulp", r->ulp);
	cJSON_AddItemToArray(s->json, o);
}

/* The code that a reason begins with, as in "E1001 ...". */
static int code_of(const char *reason, int otherwise)
{
	int code;
	return sscanf(reason, "E%4d ", &code) == 1 ? code : otherwise;
}

/* Whether a test fails as a line says. Outputs that differ have the code of this verb. */
static bool is_expected(const expected *e, const result *r)
{
	int want = code_of(e->reason, 0);
	return !want || want == code_of(r->reason, PAI_E_verify_failed);
}

static void judge(suite *s, result *r)
{
	expected *e = find_expected(s, r->name);
	const char *state = r->reason ? "failed" : "passed";
	if (r->reason && e) {
		e->used = true;
		r->known = e->reason;
		if (is_expected(e, r))
			state = "skipped";
	} else if (e && !is_pattern(e)) {
		r->reason = "passes, but the manifest expects it to fail";
		state = "failed";
	}
	s->passed += strcmp(state, "passed") == 0;
	s->failed += strcmp(state, "failed") == 0;
	s->skipped += strcmp(state, "skipped") == 0;
	if (s->json)
		add_json(s, r, state);
	else if (strcmp(state, "failed") == 0 || s->c->verbose)
		cli_print(s->c, "%-8s %s%s%s\n", state, pai_escape(s->c->arena, r->name),
			  r->reason ? ": " : "",
			  r->reason ? pai_escape(s->c->arena, r->reason) : "");
}

/* A line that no failing test met is out of date. */
static pai_status check_manifest(suite *s, const char *path)
{
	for (int i = 0; path && i < s->manifest.n; i++)
		if (!s->manifest.at[i].used)
			return pai_fail(s->c->ctx, PAI_E_verify_failed, pai_at_file(path),
					"no test that fails is named \"%s\"",
					pai_escape(s->c->arena, s->manifest.at[i].pattern));
	return PAI_OK;
}

static void print_end(suite *s)
{
	cJSON *root = cJSON_CreateObject();
	cJSON_AddNumberToObject(root, "schema", 1);
	cJSON_AddNumberToObject(root, "passed", s->passed);
	cJSON_AddNumberToObject(root, "failed", s->failed);
	cJSON_AddNumberToObject(root, "skipped", s->skipped);
	if (s->json) {
		cJSON_AddItemToObject(root, "tests", s->json);
		cli_print_json(s->c, root);
	} else {
		cli_print(s->c, "%d passed, %d failed, %d skipped\n", s->passed, s->failed,
			  s->skipped);
	}
	if (s->c->report) {
		cJSON_DetachItemFromObject(root, "schema");
		cJSON_AddItemToObject(s->c->report, "verify", root);
	} else {
		cJSON_Delete(root);
	}
}

static pai_status run(cli *c)
{
	suite s = {.c = c, .tol = {.rtol = 1e-3, .atol = 1e-7, .ulp = -1}};
	const char *manifest = cli_get(c, "manifest");
	PAI_TRY(cli_float(c, "rtol", 0, 1, &s.tol.rtol));
	PAI_TRY(cli_float(c, "atol", 0, INFINITY, &s.tol.atol));
	PAI_TRY(cli_float(c, "ulp", 0, INFINITY, &s.tol.ulp));
	PAI_TRY(cli_backend(c, &s.backend));
	if (manifest)
		PAI_TRY(read_manifest(&s, manifest));
	for (int i = 0; i < c->n_args; i++) {
		int before = s.folders.n;
		find_tests(&s, c->args[i], LEVELS);
		if (s.folders.n == before)
			return pai_fail(c->ctx, PAI_E_no_tests, pai_at_file(c->args[i]),
					"holds no folder with a model.onnx");
	}
	if (cli_has(c, "json"))
		s.json = cJSON_CreateArray();
	double start = pai_now();
	for (int i = 0; i < s.folders.n; i++) {
		result r = {.name = test_name(c->arena, s.folders.at[i])};
		double seconds = pai_now() - start;
		cli_progress(c, i, s.folders.n, i ? seconds / i * (s.folders.n - i) : 0, r.name);
		run_test(&s, s.folders.at[i], &r);
		judge(&s, &r);
	}
	cli_progress_end(c);
	print_end(&s);
	PAI_TRY(check_manifest(&s, manifest));
	if (s.failed)
		return pai_fail(c->ctx, PAI_E_verify_failed, pai_at_nothing(),
				"%d of %d tests failed", s.failed, s.folders.n);
	return PAI_OK;
}

static const cli_option options[] = {
	{"rtol", "X", "allowed difference relative to the expected element (default 1e-3)"},
	{"atol", "X", "allowed absolute difference, added to that (default 1e-7)"},
	{"ulp", "N", "also accept N units in the last place of a float"},
	{"manifest", "FILE",
	 "tests expected to fail: lines of pattern and reason, which may start with an error code"},
	{"json", NULL, "print the results as JSON"},
	{NULL, NULL, NULL},
};

const cli_verb cli_verb_verify = {
	.name = "verify",
	.summary = "run folders of the ONNX test suite",
	.usage = "DIR... [--manifest=FILE]",
	.examples = "  pai-opt verify onnx/backend/test/data/node --runtime=reference\n"
		    "  pai-opt verify node/test_gemm_default_no_bias -v\n",
	.options = options,
	.min_args = 1,
	.max_args = -1,
	.run = run,
};

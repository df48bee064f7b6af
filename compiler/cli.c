/* cli.c -- what all verbs share: option parsing by table, help, progress. */
#include "compiler/cli_private.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const cli_option common[] = {
	{"o", "FILE", "output file; - is standard output"},
	{"report", "FILE", "write a JSON report (docs/report.schema.json)"},
	{"errors", "text|json", "form of messages"},
	{"threads", "N", "use at most N threads (default: all)"},
	{"seed", "N", "seed of all random numbers (default 0)"},
	{"max-memory", "SIZE", "memory a run may use, such as 500M or 8G"},
	{"progress", "auto|on|off", "show progress (default auto: on a terminal)"},
	{"q", NULL, "print nothing but errors"},
	{"v", NULL, "print more"},
	{"runtime", "fast|reference", "kernels to execute with (default fast)"},
	{"precision", "f32", "arithmetic (default f32)"},
	{"dim", "NAME=N", "size of a symbolic dimension; may be repeated"},
	{"help", NULL, "this text"},
	{"version", NULL, "versions of this program and of what it is built on"},
	{NULL, NULL, NULL},
};

static const struct limit_row {
	const char *name;
	size_t offset;
} limits[] = {
#define LIMIT(name, value, meaning) {#name, offsetof(pai_limits, name)},
#include "compiler/limits.def"
#undef LIMIT
};
enum { LIMITS = sizeof limits / sizeof *limits };

/* "--limit-file-bytes" <-> file_bytes */
static const struct limit_row *limit_row(const char *option)
{
	if (strncmp(option, "limit-", 6) != 0)
		return NULL;
	for (int i = 0; i < LIMITS; i++) {
		const char *a = option + 6, *b = limits[i].name;
		while (*a && (*a == *b || (*a == '-' && *b == '_')))
			a++, b++;
		if (!*a && !*b)
			return &limits[i];
	}
	return NULL;
}

static const cli_option *find_in(const cli_option *options, const char *name)
{
	for (const cli_option *o = options; o && o->name; o++)
		if (strcmp(o->name, name) == 0)
			return o;
	return NULL;
}

static const char *option_name(const void *payload, int i)
{
	const cli_verb *verb = payload;
	for (const cli_option *o = verb->options; o && o->name; o++)
		if (i-- == 0)
			return o->name;
	for (const cli_option *o = common; o->name; o++)
		if (i-- == 0)
			return o->name;
	return NULL;
}

static const cli_option limit_option[] = {
	{"limit-NAME", "N",
	 "a limit on what a file may ask for; pai-opt --list-limits has them all"},
	{NULL, NULL, NULL},
};

static const cli_option *find_option(const cli_verb *verb, const char *name)
{
	const cli_option *o = find_in(verb->options, name);
	if (!o)
		o = find_in(common, name);
	return o ? o : limit_row(name) ? limit_option : NULL;
}

static pai_status unknown_option(cli *c, const char *given, const char *name)
{
	const char *near = pai_nearest(name, option_name, c->verb);
	if (near)
		near = pai_arena_printf(c->arena, "%s%s", near[1] ? "--" : "-", near);
	return pai_fail(c->ctx, PAI_E_unknown_option, pai_at_nothing(),
			"verb %s has no option \"%s\"%s", c->verb->name,
			pai_escape(c->arena, given), pai_did_you_mean(c->ctx, near));
}

static void keep(cli *c, const char *name, const char *value)
{
	cli_given item = {name, value};
	PAI_PUSH(c->arena, c->own->given, item);
}

/* One argument that starts with a dash; *i is moved past a separate value. */
static pai_status parse_option(cli *c, int argc, char **argv, int *i)
{
	const char *given = argv[*i];
	bool is_long = given[1] == '-';
	const char *body = given + (is_long ? 2 : 1);
	const char *eq = strchr(body, '=');
	size_t n = is_long && eq ? (size_t)(eq - body) : is_long ? strlen(body) : 1;
	const char *name = pai_arena_strndup(c->arena, body, n);
	const cli_option *o = find_option(c->verb, name);
	if (!o || (is_long && !name[1]))
		return unknown_option(c, given, name);
	const char *value = is_long ? (eq ? eq + 1 : NULL) : body[1] ? body + 1 : NULL;
	if (!o->metavar) {
		if (value)
			return pai_fail(c->ctx, PAI_E_bad_value, pai_at_nothing(),
					"option %s takes no value", pai_escape(c->arena, given));
		value = "";
	} else if (!value && o->metavar[0] == '=') {
		value = "";
	} else if (!value) {
		if (*i + 1 >= argc)
			return pai_fail(c->ctx, PAI_E_missing_argument, pai_at_nothing(),
					"option %s needs a value: %s", given, o->metavar);
		value = argv[++*i];
	}
	keep(c, name, value);
	return PAI_OK;
}

pai_status cli_parse(cli *c, int argc, char **argv)
{
	bool only_args = false;
	c->args = PAI_NEWS(c->arena, const char *, argc);
	for (int i = 0; i < argc; i++) {
		if (!only_args && strcmp(argv[i], "--") == 0)
			only_args = true;
		else if (!only_args && argv[i][0] == '-' && argv[i][1])
			PAI_TRY(parse_option(c, argc, argv, &i));
		else
			c->args[c->n_args++] = argv[i];
	}
	return PAI_OK;
}

/* k-th value of an option that may be repeated, NULL at the end. */
static const char *nth(const cli *c, const char *option, int k)
{
	for (int i = 0; i < c->own->given.n; i++)
		if (strcmp(c->own->given.at[i].name, option) == 0 && k-- == 0)
			return c->own->given.at[i].value;
	return NULL;
}

const char *cli_get(const cli *c, const char *option)
{
	const char *last = NULL, *value;
	for (int k = 0; (value = nth(c, option, k)); k++)
		last = value;
	return last;
}

bool cli_has(const cli *c, const char *option)
{
	return cli_get(c, option) != NULL;
}

static const char *dashes(const char *option)
{
	return option[1] ? "--" : "-";
}

pai_status cli_int(cli *c, const char *option, int64_t min, int64_t max, int64_t *out)
{
	const char *text = cli_get(c, option);
	if (!text)
		return PAI_OK;
	char *end;
	errno = 0;
	int64_t v = strtoll(text, &end, 10);
	if (errno || end == text || *end || v < min || v > max)
		return pai_fail(c->ctx, PAI_E_bad_value, pai_at_nothing(),
				"%s%s needs a whole number from %" PRId64 " to %" PRId64
				", not \"%s\"",
				dashes(option), option, min, max, pai_escape(c->arena, text));
	*out = v;
	return PAI_OK;
}

pai_status cli_float(cli *c, const char *option, double min, double max, double *out)
{
	const char *text = cli_get(c, option);
	if (!text)
		return PAI_OK;
	char *end;
	double v = strtod(text, &end);
	if (end == text || *end || !(v >= min && v <= max))
		return pai_fail(c->ctx, PAI_E_bad_value, pai_at_nothing(),
				"%s%s needs a number from %g to %g, not \"%s\"", dashes(option),
				option, min, max, pai_escape(c->arena, text));
	*out = v;
	return PAI_OK;
}

pai_status cli_choice(cli *c, const char *option, const char *choices, int *out)
{
	const char *text = cli_get(c, option), *names[17] = {NULL};
	if (!text)
		return PAI_OK;
	char *all = pai_arena_strdup(c->arena, choices), *rest = NULL;
	int n = 0;
	for (char *s = strtok_r(all, "|", &rest); s && n < 16; s = strtok_r(NULL, "|", &rest))
		names[n++] = s;
	for (int i = 0; i < n; i++) {
		if (strcmp(names[i], text) == 0) {
			*out = i;
			return PAI_OK;
		}
	}
	return pai_fail(c->ctx, PAI_E_bad_value, pai_at_nothing(),
			"%s%s is one of %s, not \"%s\"%s", dashes(option), option, choices,
			pai_escape(c->arena, text),
			pai_did_you_mean(c->ctx, pai_table_nearest(PAI_TABLE(names), text)));
}

/* "500M", "8G", "1024" */
static pai_status parse_size(cli *c, const char *option, const char *text, uint64_t *out)
{
	static const char units[] = "KMGT";
	char *end;
	errno = 0;
	uint64_t v = strtoull(text, &end, 10);
	const char *unit = *end ? strchr(units, *end) : NULL;
	int shift = unit ? 10 * (int)(unit - units + 1) : 0;
	if (errno || end == text || (*end && (!unit || end[1])) || *text == '-' ||
	    v > UINT64_MAX >> shift)
		return pai_fail(c->ctx, PAI_E_bad_value, pai_at_nothing(),
				"--%s needs a size such as 4096, 500M or 8G, not \"%s\"", option,
				pai_escape(c->arena, text));
	*out = v << shift;
	return PAI_OK;
}

static pai_status take_limits(cli *c)
{
	for (int i = 0; i < c->own->given.n; i++) {
		const cli_given *g = &c->own->given.at[i];
		const struct limit_row *row = limit_row(g->name);
		if (row)
			PAI_TRY(parse_size(c, g->name, g->value,
					   (uint64_t *)((char *)&c->ctx->limits + row->offset)));
	}
	const char *memory = cli_get(c, "max-memory");
	return memory ? parse_size(c, "max-memory", memory, &c->ctx->limits.run_bytes) : PAI_OK;
}

/* Options that every verb has, into the context. */
pai_status cli_take_common(cli *c)
{
	int progress = 0, errors = 0, precision = 0;
	int64_t threads = c->ctx->threads, seed = 0;
	PAI_TRY(cli_choice(c, "errors", "text|json", &errors));
	c->json_errors = errors == 1;
	PAI_TRY(cli_int(c, "threads", 1, 4096, &threads));
	PAI_TRY(cli_int(c, "seed", 0, INT64_MAX, &seed));
	PAI_TRY(cli_choice(c, "progress", "auto|on|off", &progress));
	PAI_TRY(cli_choice(c, "precision", "f32", &precision));
	PAI_TRY(take_limits(c));
	c->ctx->threads = (int)threads;
	c->ctx->seed = (uint64_t)seed;
	c->quiet = cli_has(c, "q");
	c->verbose = cli_has(c, "v");
	c->terminal = isatty(STDERR_FILENO);
	c->progress = progress == 1 || (progress == 0 && !c->quiet);
	if (cli_has(c, "report"))
		c->report = cJSON_CreateObject();
	if (c->n_args < c->verb->min_args)
		return pai_fail(c->ctx, PAI_E_missing_argument, pai_at_nothing(), "%s needs %s",
				c->verb->name, c->verb->usage);
	if (c->verb->max_args >= 0 && c->n_args > c->verb->max_args)
		return pai_fail(c->ctx, PAI_E_unknown_name, pai_at_nothing(),
				"%s takes no argument \"%s\"", c->verb->name,
				pai_escape(c->arena, c->args[c->verb->max_args]));
	return PAI_OK;
}

static const char *extension(const char *path)
{
	const char *base = strrchr(path, '/'), *dot = strrchr(base ? base : path, '.');
	return dot ? dot : path + strlen(path);
}

bool cli_is_text(const char *path)
{
	return strcmp(extension(path), ".onnxtxt") == 0;
}

const char *cli_output_beside(cli *c, const char *in, const char *infix, bool text)
{
	return pai_arena_printf(c->arena, "%.*s%s%s", (int)(extension(in) - in), in, infix,
				text ? ".onnxtxt" : ".onnx");
}

pai_status cli_fix_dims(cli *c, pai_model *m)
{
	const char *text;
	for (int k = 0; (text = nth(c, "dim", k)); k++) {
		const char *eq = strrchr(text, '=');
		char *end = NULL;
		long long size = eq ? strtoll(eq + 1, &end, 10) : -1;
		if (!eq || eq == text || size < 0 || *end || end == eq + 1)
			return pai_fail(c->ctx, PAI_E_bad_value, pai_at_nothing(),
					"--dim needs NAME=N, not \"%s\"",
					pai_escape(c->arena, text));
		const char *name = pai_arena_strndup(c->arena, text, (size_t)(eq - text));
		PAI_TRY(pai_model_fix_dim(m, name, size));
	}
	return PAI_OK;
}

pai_status cli_model(cli *c, const char *path, pai_model **out)
{
	pai_model *m;
	PAI_TRY(pai_model_read(c->ctx, path, &m));
	pai_status status = cli_fix_dims(c, m);
	if (status == PAI_OK)
		status = pai_infer(m);
	if (status == PAI_OK)
		status = pai_verify(m);
	if (status != PAI_OK) {
		pai_model_free(m);
		return status;
	}
	*out = m;
	return PAI_OK;
}

/* What is no regular file is left alone, since who reads from a pipe would see its end. Nothing
 * stays open, so that a run that is killed leaves no temporary file. */
pai_status cli_try_output(cli *c, const char *path)
{
	struct stat st;
	pai_writer *w;
	if (!path || strcmp(path, "-") == 0 ||
	    (stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
		return PAI_OK;
	PAI_TRY(pai_writer_open(c->ctx, path, &w));
	pai_writer_discard(w);
	return PAI_OK;
}

pai_status cli_backend(cli *c, pai_backend *out)
{
	int choice = PAI_FAST;
	PAI_TRY(cli_choice(c, "runtime", "fast|reference", &choice));
	*out = (pai_backend)choice;
	return PAI_OK;
}

void cli_print(cli *c, const char *fmt, ...)
{
	if (c->quiet)
		return;
	va_list args;
	char *text = NULL;
	va_start(args, fmt);
	int n = vasprintf(&text, fmt, args);
	va_end(args);
	if (n < 0)
		return;
	pai_arena *a = pai_arena_new(c->ctx); /* names from a file are in it */
	fputs(pai_printable(a, text), stdout);
	pai_arena_free(a);
	free(text);
}

void cli_print_json(cli *c, const cJSON *o)
{
	char *text = cJSON_Print(o);
	if (!c->quiet)
		printf("%s\n", text ? pai_printable_json(c->arena, text) : "null");
	cJSON_free(text);
}

const char *cli_duration(cli *c, double s)
{
	if (!isfinite(s) || s < 0)
		return "?";
	if (s < 10)
		return pai_arena_printf(c->arena, "%.1f s", s);
	if (s < 60)
		return pai_arena_printf(c->arena, "%.0f s", s);
	if (s < 3600)
		return pai_arena_printf(c->arena, "%d min %02d s", (int)s / 60, (int)s % 60);
	return pai_arena_printf(c->arena, "%d h %02d min", (int)(s / 3600), (int)s / 60 % 60);
}

enum { BAR = 24 };

void cli_progress(cli *c, double done, double total, double seconds_left, const char *text)
{
	struct cli_private *own = c->own;
	double now = pai_now(), pause = c->terminal ? 0.1 : 10;
	bool end = done >= total;
	if (!c->progress || (now - own->shown < pause && !(end && !c->terminal)))
		return;
	if (!c->terminal && own->shown == 0) { /* the first plain line comes after one pause */
		own->shown = now;
		return;
	}
	own->shown = now;
	double share = total > 0 ? done / total : 1;
	int filled = (int)(BAR * (share < 1 ? share : 1));
	if (c->terminal)
		fprintf(stderr, "\r\033[K[%.*s%.*s] %3.0f %%  %s  %s left", filled,
			"########################", BAR - filled, "........................",
			100 * share, text, cli_duration(c, seconds_left));
	else
		fprintf(stderr, "%3.0f %%  %s  %s left\n", 100 * share, text,
			cli_duration(c, seconds_left));
	own->bar = c->terminal;
}

void cli_progress_end(cli *c)
{
	if (c->own->bar)
		fprintf(stderr, "\r\033[K");
	c->own->bar = false;
	c->own->shown = 0;
}

static void print_options(const cli_option *options)
{
	for (const cli_option *o = options; o && o->name; o++) {
		const char *m = o->metavar ? o->metavar : "";
		char left[64];
		if (!o->metavar)
			snprintf(left, sizeof left, "%s%s", dashes(o->name), o->name);
		else if (*m == '=')
			snprintf(left, sizeof left, "%s%s[%s]", dashes(o->name), o->name, m);
		else
			snprintf(left, sizeof left, "%s%s%s%s", dashes(o->name), o->name,
				 o->name[1] ? "=" : " ", m);
		printf("  %-28s %s\n", left, o->help);
	}
}

void cli_help(const cli_verb *verb)
{
	printf("usage: pai-opt %s %s\n\n%s\n", verb->name, verb->usage, verb->summary);
	if (verb->options && verb->options->name)
		printf("\noptions:\n");
	print_options(verb->options);
	if (verb->examples)
		printf("\nexamples:\n%s", verb->examples);
	printf("\noptions of every verb:\n");
	print_options(common);
	print_options(limit_option);
}

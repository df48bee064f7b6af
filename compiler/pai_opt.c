/* pai_opt.c -- main: finds the verb, runs it, reports, gives the exit code. */
#include "compiler/cli_private.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const cli_verb *const verbs[] = {
#define VERB(name) &cli_verb_##name,
#include "compiler/verbs.def"
#undef VERB
	NULL,
};
static const pai_table verb_table = PAI_TABLE_OF_POINTERS(verbs);

static const cli_verb *find_verb(const char *name)
{
	return pai_table_find(verb_table, name);
}

static void print_overview(void)
{
	printf("pai-opt makes an ONNX model better without the framework that exported it.\n\n"
	       "usage: pai-opt [VERB] MODEL... [OPTIONS]      a first word that is no verb is the "
	       "model,\n"
	       "                                              and the verb is opt\n\nverbs:\n");
	for (int i = 0; verbs[i]; i++)
		printf("  %-9s %s\n", verbs[i]->name, verbs[i]->summary);
	printf("\npai-opt VERB --help shows the options and examples of a verb; what there is to "
	       "pick from:\n ");
	for (int i = 0; cli_list_name(i); i++)
		printf(" --list-%s", cli_list_name(i));
	printf(" [--json]\n");
}

/* Of the libraries that are loaded, which need not be those of the build. */
static void print_version(cli *c)
{
	const char *onednn = pai_onednn_version(c->ctx, c->arena);
	printf("pai-opt %s\noneDNN %s\nprotobuf-c %s\nONNX IR %d, ai.onnx opset %d\n", PAI_VERSION,
	       onednn ? onednn : "not found", pai_protobuf_c_version(), PAI_ONNX_IR_VERSION,
	       PAI_ONNX_OPSET);
}

static void show(void *payload, const pai_diag *d)
{
	cli *c = payload;
	if (c->quiet && d->severity != PAI_ERROR)
		return;
	cli_progress_end(c);
	fflush(stdout);
	pai_diag_print(d, stderr, c->json_errors);
}

/* A mapped file that shrinks while it is read. */
static void on_bus_error(int sig)
{
	static const char line[] =
		"pai-opt: error E0202: a file shrank or failed while it was read\n";
	(void)sig;
	ssize_t n = write(STDERR_FILENO, line, sizeof line - 1);
	(void)n;
	_exit(PAI_IO);
}

static void on_abort(int sig)
{
	static const char line[] = "pai-opt: error E1901: internal error, please report this\n";
	(void)sig;
	ssize_t n = write(STDERR_FILENO, line, sizeof line - 1);
	(void)n;
	_exit(PAI_INTERNAL);
}

static const char cxx_library[] = "libstdc++.so.6";

/* Where nobody catches what a C++ library throws. The library of C++ tells what that was: a
 * std::type_info, whose second word is the name of the type. */
static void on_throw(void)
{
	static const char line[] =
		"pai-opt: error E0601: out of memory\n"
		"pai-opt: hint: give the process more memory or lower --max-memory\n";
	const char *const *(*thrown)(void);
	void *library = dlopen(cxx_library, RTLD_LAZY | RTLD_NOLOAD);
	void *found = library ? dlsym(library, "__cxa_current_exception_type") : NULL;
	memcpy(&thrown, &found, sizeof found);
	const char *const *type = found ? thrown() : NULL; /* NULL: no memory to throw it either */
	if (!found || (type && strcmp(type[1], "St9bad_alloc") != 0))
		abort();
	ssize_t n = write(STDERR_FILENO, line, sizeof line - 1);
	(void)n;
	_exit(PAI_NOMEM);
}

/* oneDNN throws when it has no memory, and may do so while it is loaded: std::set_terminate. */
static void catch_throws(pai_ctx *ctx, const char *name)
{
	(void)ctx;
	void (*(*set_terminate)(void (*)(void)))(void);
	void *library = strstr(name, "dnnl") ? dlopen(cxx_library, RTLD_LAZY) : NULL;
	void *found = library ? dlsym(library, "_ZSt13set_terminatePFvvE") : NULL;
	memcpy(&set_terminate, &found, sizeof found);
	if (found)
		set_terminate(on_throw);
}

/* As a shell takes it: in single quotes, a single quote among them as '\\''. */
static const char *quote(pai_arena *a, const char *word)
{
	if (*word && !word[strcspn(word, " '\"{}[]*?$&|;<>()~#!\\`\t\n")])
		return word;
	char *out = pai_arena_alloc(a, 4 * strlen(word) + 3), *o = out;
	*o++ = '\'';
	for (; *word; word++) {
		if (*word == '\'') {
			for (const char *escaped = "'\\''"; *escaped; escaped++)
				*o++ = *escaped;
		} else {
			*o++ = *word;
		}
	}
	*o = '\'';
	return out;
}

static const char *quote_command(pai_arena *a, int argc, char **argv)
{
	const char *s = "pai-opt";
	for (int i = 1; i < argc; i++)
		s = pai_arena_printf(a, "%s %s", s, quote(a, argv[i]));
	return s;
}

/* A standard file that is closed is held by one that fails in use, so that no other takes its
 * number and is mixed with what is printed. */
static void hold_standard_files(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_RDONLY : O_WRONLY) != fd)
			_exit(PAI_IO);
}

/* Messages as --errors=json prints them, as a list. */
static cJSON *messages(const pai_ctx *ctx)
{
	cJSON *list = cJSON_CreateArray();
	for (int i = 0; i < pai_diag_count(ctx); i++) {
		char *text = NULL;
		size_t size;
		FILE *to = open_memstream(&text, &size);
		if (!to)
			break;
		pai_diag_print(pai_diag_get(ctx, i), to, true);
		fclose(to);
		cJSON *message = cJSON_Parse(text);
		if (message)
			cJSON_AddItemToArray(list, message);
		free(text);
	}
	return list;
}

static pai_status write_report(cli *c, pai_status status)
{
	const char *path = cli_get(c, "report");
	cJSON_AddNumberToObject(c->report, "schema", 1);
	cJSON_AddStringToObject(c->report, "verb", c->verb->name);
	cJSON_AddStringToObject(c->report, "command", c->command);
	cJSON_AddStringToObject(c->report, "version", PAI_VERSION);
	cJSON_AddNumberToObject(c->report, "exit", c->signal ? 128 + c->signal : (int)status);
	cJSON_AddItemToObject(c->report, "messages", messages(c->ctx));
	char *text = cJSON_Print(c->report);
	pai_writer *w;
	pai_status written = text ? pai_writer_open(c->ctx, path, &w)
				  : pai_fail(c->ctx, PAI_E_memory, pai_at_file(path),
					     "no memory for the report");
	if (written == PAI_OK) {
		pai_writer_printf(w, "%s\n", pai_printable_json(c->arena, text));
		written = pai_writer_commit(w);
	}
	cJSON_free(text);
	return status != PAI_OK ? status : written;
}

/* GNU OpenMP's threads spin for milliseconds at a barrier, which costs a machine that does
 * something else beside us seven times the time. It reads how long to spin when it is loaded, so
 * the program starts anew with a short time; users who set it themselves are left alone. */
static void spin_shortly(char **argv)
{
	if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY"))
		return;
	if (setenv("GOMP_SPINCOUNT", "2000", 1) == 0)
		execv("/proc/self/exe", argv); /* where that is not possible, go on as we are */
}

static pai_status run_verb(cli *c, int argc, char **argv)
{
	pai_status status = cli_parse(c, argc, argv);
	if (cli_has(c, "errors"))
		c->json_errors = strcmp(cli_get(c, "errors"), "json") == 0;
	if (status != PAI_OK)
		return status;
	if (cli_has(c, "help")) {
		cli_help(c->verb);
		return PAI_OK;
	}
	if (cli_has(c, "version")) {
		print_version(c);
		return PAI_OK;
	}
	PAI_TRY(cli_take_common(c));
	if (c->report)
		PAI_TRY(cli_try_output(c, cli_get(c, "report")));
	status = c->verb->run(c);
	cli_progress_end(c);
	return c->report ? write_report(c, status) : status;
}

static pai_status dispatch(cli *c, int argc, char **argv)
{
	if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
		print_overview();
		return argc < 2 ? PAI_USAGE : PAI_OK;
	}
	if (strcmp(argv[1], "--version") == 0) {
		print_version(c);
		return PAI_OK;
	}
	if (strncmp(argv[1], "--list-", 7) == 0) {
		c->verb = verbs[0];
		return cli_list(c, argv[1] + 7, argc > 2 && strcmp(argv[2], "--json") == 0);
	}
	c->verb = find_verb(argv[1]);
	if (c->verb && c->verb->computes)
		spin_shortly(argv);
	if (c->verb)
		return run_verb(c, argc - 2, argv + 2);
	c->verb = find_verb("opt");
	const char *near = pai_table_nearest(verb_table, argv[1]);
	if (near && argv[1][0] != '-' && access(argv[1], F_OK) != 0)
		pai_note(c->ctx, pai_at_nothing(),
			 "\"%s\" is no verb, so it is taken for a model; "
			 "the nearest verb is \"%s\"",
			 pai_escape(c->arena, argv[1]), near);
	return run_verb(c, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	hold_standard_files();
	signal(SIGBUS, on_bus_error);
	signal(SIGABRT, on_abort);
	signal(SIGPIPE, SIG_IGN);
	pai_ctx *ctx = pai_ctx_new(NULL);
	if (!ctx)
		return PAI_NOMEM;
	cli c = {.ctx = ctx, .arena = pai_arena_new(ctx)};
	c.own = PAI_NEW(c.arena, struct cli_private);
	c.command = quote_command(c.arena, argc, argv);
	ctx->on_diag = show;
	ctx->on_library = catch_throws;
	ctx->payload = &c;
	pai_status status = dispatch(&c, argc, argv);
	if (fflush(stdout) != 0 && status == PAI_OK)
		status = PAI_IO;
	cJSON_Delete(c.report);
	const int by_signal = c.signal;
	pai_arena_free(c.arena);
	pai_ctx_free(ctx);
	if (by_signal) { /* so that a shell knows: its handler is the default one again */
		signal(by_signal, SIG_DFL);
		raise(by_signal);
	}
	return status;
}

/* cli.h -- the driver: verbs, options, reports, progress.
 *
 * A verb is a file verb_<name>.c that ends with its descriptor cli_verb_<name>, and a row in
 * verbs.def. Options are tables: the parser, --help and the nearest-name hints read the same rows.
 * The driver stands above all layers; it is the only part that prints and that knows exit codes.
 */
#ifndef PAI_CLI_H
#define PAI_CLI_H

#include "passes/passes.h"
#include <cjson/cJSON.h>

typedef struct cli cli;

typedef struct cli_option {  /* a list ends with a NULL name */
	const char *name;    /* without dashes; one letter: short */
	const char *metavar; /* "FILE"; "=FILE" when the value may be left out; NULL: a switch */
	const char *help;
} cli_option;

typedef struct cli_verb {
	const char *name, *summary;
	const char *usage;         /* "MODEL [-o FILE]" */
	const char *examples;      /* lines, or NULL */
	const cli_option *options; /* beside the common ones */
	int min_args, max_args;    /* positional; max -1: any number */
	bool computes;             /* runs models for long, on several threads */
	pai_status (*run)(cli *c);
} cli_verb;

struct cli {
	pai_ctx *ctx;
	pai_arena *arena;
	const cli_verb *verb;
	const char **args; /* positional, without the verb */
	int n_args;
	const char *command; /* the whole command line, quoted for a shell */
	bool quiet, verbose, json_errors;
	bool progress; /* show progress */
	bool terminal; /* ... as a bar that moves */
	cJSON *report; /* what --report writes; NULL: not asked for */
	int signal;    /* that ended the verb early, after which the program ends by it; 0: none */
	struct cli_private *own;
};

/* Last value given; NULL: not given. A switch gives "". */
const char *cli_get(const cli *c, const char *option);
bool cli_has(const cli *c, const char *option);
/* *out is left alone when the option is absent. A bad value is USAGE and names option and range. */
PAI_MUST_USE pai_status cli_int(cli *c, const char *option, int64_t min, int64_t max, int64_t *out);
PAI_MUST_USE pai_status cli_float(cli *c, const char *option, double min, double max, double *out);
/* One of "a|b|c": its index. */
PAI_MUST_USE pai_status cli_choice(cli *c, const char *option, const char *choices, int *out);

/* Beside the input: model.onnx -> model<infix>.onnx, or .onnxtxt. */
const char *cli_output_beside(cli *c, const char *in, const char *infix, bool text);
bool cli_is_text(const char *path); /* by its extension */

/* Reads, fixes --dim sizes, infers shapes, verifies. */
PAI_MUST_USE pai_status cli_model(cli *c, const char *path, pai_model **out);
/* What --dim says; cli_model does so too. */
PAI_MUST_USE pai_status cli_fix_dims(cli *c, pai_model *m);
/* Fails where a file of that name could not be written: before long work, as nothing is written
 * before its end. NULL: nothing is to be written. */
PAI_MUST_USE pai_status cli_try_output(cli *c, const char *path);
/* The backend of --runtime. */
PAI_MUST_USE pai_status cli_backend(cli *c, pai_backend *out);

/* A line on standard output, not with -q. */
void cli_print(cli *c, const char *fmt, ...) PAI_PRINTF(2, 3);
void cli_print_json(cli *c, const cJSON *o);

/* Progress with time left: on a terminal one line that is redrawn, else plain lines now and then.
 * `done` and `total` in any unit; `text` names what is under way and its figures. */
void cli_progress(cli *c, double done, double total, double seconds_left, const char *text);
void cli_progress_end(cli *c);
/* "1 h 03 min", "2 min 10 s", "4.2 s" */
const char *cli_duration(cli *c, double seconds);

/* cli_list.c: the i-th name that --list-<what> knows; NULL past the last. */
const char *cli_list_name(int i);
/* Prints the table that --list-<what> names; USAGE when there is none. */
PAI_MUST_USE pai_status cli_list(cli *c, const char *what, bool json);

#define VERB(name) extern const cli_verb cli_verb_##name;
#include "compiler/verbs.def"
#undef VERB

#endif

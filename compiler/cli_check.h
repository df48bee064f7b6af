/* cli_check.h -- the equivalence check that opt, compare and burn-in share. */
#ifndef PAI_CLI_CHECK_H
#define PAI_CLI_CHECK_H

#include "compiler/cli.h"

#define CLI_CHECK_OPTIONS                                                                       \
	{"check", "N", "sets of random inputs to compare on (default 3; 0: none)"},             \
		{"input", "FILE", "compare on these inputs: .npz, .npy or a folder of .pb"},    \
		{"rtol", "X", "largest difference relative to the output's largest magnitude"}, \
	{                                                                                       \
		"atol", "X", "largest absolute difference, added to that"                       \
	}

typedef struct cli_check {
	int sets; /* of random inputs */
	double rtol, atol;
	double ulp;        /* units in the last place that are allowed too; 0: none */
	double *rtols;     /* [n] of each output, after a run */
	const char *input; /* file instead of random numbers; NULL: none */
	pai_difference *differences;
	int n;
} cli_check;

/* Overwrites what the command line says; the caller has set defaults. */
PAI_MUST_USE pai_status cli_check_options(cli *c, cli_check *check);
/* Runs both models; fills differences and the report. */
PAI_MUST_USE pai_status cli_check_run(cli *c, const pai_model *x, const pai_model *y,
				      cli_check *check);
/* Runs and gates a rewritten model against the one it came from (NULL: not asked for); `file` for
 * messages. pointless: why it cannot be compared, which is then said instead; or NULL. */
PAI_MUST_USE pai_status cli_check_prove(cli *c, const pai_model *original, const pai_model *m,
					cli_check *check, const char *file, const char *pointless);
/* The part of a closing line that tells how far apart they were; nothing where they did not run. */
void cli_check_print(cli *c, const cli_check *check);
/* The largest relative difference that was allowed of any output. */
double cli_check_rtol(const cli_check *check);
/* CHECK, with a message that names the worst output, when one is beyond the tolerance. */
PAI_MUST_USE pai_status cli_check_gate(cli *c, const cli_check *check, const char *file);

#endif

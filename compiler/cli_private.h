/* cli_private.h -- what cli.c and pai_opt.c share. */
#ifndef PAI_CLI_PRIVATE_H
#define PAI_CLI_PRIVATE_H

#include "compiler/cli.h"

typedef struct cli_given { /* an option on the command line */
	const char *name, *value;
} cli_given;

struct cli_private {
	PAI_VEC(cli_given) given;
	double shown; /* when progress was last drawn; 0: not yet */
	bool bar;     /* a bar is on the line */
};

PAI_MUST_USE pai_status cli_parse(cli *c, int argc, char **argv);
PAI_MUST_USE pai_status cli_take_common(cli *c);
void cli_help(const cli_verb *verb);

#endif

/* verb_compare.c -- pai-opt compare A B: largest difference per output on the same inputs. */
#include "compiler/cli_check.h"
#include <math.h>

static pai_status compare(cli *c, pai_model *x, pai_model *y)
{
	cli_check check = {.sets = 3, .rtol = 1e-4, .atol = 1e-5};
	if (cli_has(c, "ulp")) /* asked for units, so those alone, if not told otherwise */
		check.rtol = check.atol = 0;
	PAI_TRY(cli_check_options(c, &check));
	PAI_TRY(cli_float(c, "ulp", 0, INFINITY, &check.ulp));
	if (check.sets == 0)
		return pai_fail(c->ctx, PAI_E_bad_value, pai_at_nothing(),
				"compare needs at least one set of inputs");
	PAI_TRY(cli_check_run(c, x, y, &check));
	for (int i = 0; i < check.n; i++) {
		const pai_difference *d = &check.differences[i];
		cli_print(c, "%-24s abs %-10.4g rel %-10.4g ulp %-8.4g rtol %-8.4g%s%s\n",
			  pai_escape(c->arena, d->output), d->abs, d->rel, d->ulp, check.rtols[i],
			  d->shape ? " shapes differ" : "", d->nan ? " NaN in one only" : "");
	}
	return cli_check_gate(c, &check, y->path);
}

static pai_status run(cli *c)
{
	pai_model *x, *y;
	PAI_TRY(cli_model(c, c->args[0], &x));
	pai_status status = cli_model(c, c->args[1], &y);
	if (status == PAI_OK) {
		status = compare(c, x, y);
		pai_model_free(y);
	}
	pai_model_free(x);
	return status;
}

static const cli_option options[] = {
	CLI_CHECK_OPTIONS,
	{"ulp", "N", "also accept N units in the last place of a float; alone, nothing else"},
	{NULL, NULL, NULL},
};

const cli_verb cli_verb_compare = {
	.name = "compare",
	.summary = "run two models on the same inputs and show how far their outputs are apart",
	.usage = "A B [--input=FILE]",
	.examples = "  pai-opt compare model.onnx model.opt.onnx\n"
		    "  pai-opt compare a.onnx b.onnx --input=samples.npz --rtol=0 --atol=0\n",
	.options = options,
	.min_args = 2,
	.max_args = 2,
	.run = run,
};

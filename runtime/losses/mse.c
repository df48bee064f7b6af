/* mse.c -- squared difference: mean or sum of (output - target)^2 over all elements. */
#include "runtime/runtime.h"
#include <string.h>

static const pai_option options[] = {
	{.name = "reduction",
	 .type = PAI_OPT_STRING,
	 .def = "mean",
	 .choices = "mean|sum",
	 .help = "over all elements"},
	{0},
};

static pai_status emit(pai_ctx *ctx, pai_patch *p, const pai_item *settings, pai_value *output,
		       pai_value *target, pai_value **loss)
{
	(void)ctx;
	bool mean = strcmp(pai_item_string(settings, options, "reduction"), "mean") == 0;
	pai_value *d = PAI_OP2(p, "Sub", "difference", output, target);
	pai_value *square = PAI_OP2(p, "Mul", "square", d, d);
	*loss = PAI_OP1(p, mean ? "ReduceMean" : "ReduceSum", "loss", square);
	pai_patch_set_int(p, (*loss)->producer, "keepdims", 0);
	return PAI_OK;
}

const pai_loss pai_loss_mse = {
	.name = "mse",
	.summary = "squared difference to targets shaped as the output",
	.options = options,
	.emit = emit,
};

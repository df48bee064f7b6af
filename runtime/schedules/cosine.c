/* cosine.c -- half a cosine from 1 to end (Loshchilov and Hutter, 2017, without restarts):
 *     f = end + (1 - end) (1 + cos(pi t / T)) / 2 */
#include "runtime/runtime.h"
#include <math.h>

enum { END };

static const pai_option options[] = {
	PAI_WARMUP,
	{.name = "end", .type = PAI_OPT_FLOAT, .def = "0", .max = 1, .help = "factor at the end"},
	{.name = NULL},
};

static double factor(const double *settings, const pai_moment *at)
{
	double share = (double)at->step / (double)at->steps;
	return settings[END] + (1 - settings[END]) * (1 + cos(share * 3.14159265358979324)) / 2;
}

const pai_schedule pai_schedule_cosine = {
	.name = "cosine",
	.summary = "half a cosine from the learning rate down to its end",
	.options = options,
	.factor = factor,
};

/* cosine.c -- half a cosine from 1 to end (Loshchilov and Hutter, 2017, without restarts):
 *     f = end + (1 - end) (1 + cos(pi t / T)) / 2 */
#include "runtime/schedules/end.h"
#include <math.h>

static double factor(const double *settings, const pai_moment *at)
{
	double share = (double)at->step / (double)at->steps;
	return settings[PAI_END] +
	       (1 - settings[PAI_END]) * (1 + cos(share * 3.14159265358979324)) / 2;
}

const pai_schedule pai_schedule_cosine = {
	.name = "cosine",
	.summary = "half a cosine from the learning rate down to its end",
	.options = pai_end_options,
	.factor = factor,
};

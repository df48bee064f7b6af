/* end.h -- what the schedules share that go from 1 to an end; private to this folder. */
#ifndef PAI_SCHEDULE_END_H
#define PAI_SCHEDULE_END_H

#include "runtime/runtime.h"

static const pai_option pai_end_options[] = {
	PAI_WARMUP,
	{.name = "end", .type = PAI_OPT_FLOAT, .def = "0", .max = 1, .help = "factor at the end"},
	{.name = NULL},
};
enum { PAI_END }; /* its place among the settings */

#endif

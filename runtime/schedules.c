/* schedules.c -- the table of learning-rate schedules, and one at work: the warm-up that all rows
 * have in common, then the row's own curve over the steps that are left. */
#include "runtime/runtime.h"

#define SCHEDULE(x) extern const pai_schedule pai_schedule_##x;
#include "runtime/schedules.def"
#undef SCHEDULE

static const pai_schedule *const schedules[] = {
#define SCHEDULE(x) &pai_schedule_##x,
#include "runtime/schedules.def"
#undef SCHEDULE
	NULL,
};

const pai_table pai_schedule_table = PAI_TABLE_OF_POINTERS(schedules);

const pai_schedule *pai_schedule_get(int i)
{
	return pai_table_get(pai_schedule_table, i);
}

const pai_schedule *pai_schedule_find(const char *name)
{
	return pai_table_find(pai_schedule_table, name);
}

pai_scheduling pai_scheduling_new(pai_arena *a, const pai_schedule *s, const pai_item *settings,
				  uint64_t steps, uint64_t steps_per_epoch)
{
	const pai_item defaults = {.name = s->name};
	const pai_item *item = settings ? settings : &defaults;
	int n = 0;
	while (s->options[n].name)
		n++;
	double *numbers = PAI_NEWS(a, double, n);
	for (int i = 1; i < n; i++)
		numbers[i - 1] = pai_item_float(item, s->options, s->options[i].name);
	return (pai_scheduling){.schedule = s,
				.settings = numbers,
				.warmup = (uint64_t)pai_item_int(item, s->options, "warmup"),
				.steps = steps,
				.steps_per_epoch = steps_per_epoch};
}

double pai_scheduling_factor(const pai_scheduling *s, uint64_t step)
{
	if (step < s->warmup)
		return (double)(step + 1) / (double)(s->warmup + 1);
	pai_moment at = {.step = step - s->warmup,
			 .steps = s->steps - s->warmup,
			 .epoch = (step - s->warmup) / s->steps_per_epoch};
	return s->schedule->factor(s->settings, &at);
}

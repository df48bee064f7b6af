/* fast.h -- fast builders: steps better than a call of the reference kernel; private to the
 * runtime.
 *
 * A builder is asked when its unit's turn comes. It takes the unit by emitting steps that compute
 * its outputs, or leaves it. It may take units that come later as well (an activation after a
 * product), which it then marks dead. Activations of rank 3 to 5 may have their channels last in
 * memory: a builder says in which order it reads and writes, and a reorder is emitted where two
 * do not agree.
 */
#ifndef PAI_FAST_H
#define PAI_FAST_H

#include "runtime/fast/own.h"
#include "runtime/plan.h"

/* *taken is false on entry. */
typedef pai_status (*pai_fast_fn)(pai_plan *p, pai_unit *u, bool *taken);

#define OP(name, since, traits, in, out, attr, types, shape, kernel, grad, fast, ...) \
	pai_status pai_fast_##fast(pai_plan *p, pai_unit *u, bool *taken);
#include "schemas/all_ops.def"
#undef OP

pai_status pai_emit_fast(pai_plan *p, pai_unit *u, bool *taken);
/* Estimates the work and lets units read what makes fusion possible. Once, before emission. */
void pai_plan_prepare(pai_plan *p);

/* A builder will take it, or something like it. */
bool pai_unit_is_fast(const pai_plan *p, const pai_unit *u);

/* All operands and results there are have a known shape and are of this type. */
bool pai_unit_is(const pai_unit *u, pai_dtype dtype);
/* The contents of an operand where no run can change them, or NULL. */
const pai_tensor *pai_slot_constant(const pai_slot *s);
/* The axis that is i-th in memory, from the slowest, in one order of channels or the other. */
static inline int pai_memory_axis(int rank, int i, bool last)
{
	return !last || i == 0 ? i : i == rank - 1 ? 1 : i + 1;
}
/* The slot in the wanted order of channels, with a reorder emitted if need be. NULL gives NULL. */
pai_slot *pai_slot_in(pai_plan *p, pai_slot *s, bool last);
/* Where to write a result in this order; after the step is emitted, pai_slot_done. */
pai_slot *pai_slot_out(pai_plan *p, pai_slot *s, bool last);
void pai_slot_done(pai_plan *p, pai_slot *s, pai_slot *written);
/* Memory for one step (give it as an output of that step), or between steps. */
pai_slot *pai_slot_temp(pai_plan *p, size_t nbytes);
/* Memory that is filled while the plan is built and stays so. */
PAI_MUST_USE pai_status pai_slot_fixed(pai_plan *p, size_t nbytes, pai_slot **out);
/* The steps emitted so far compute it. */
bool pai_slot_ready(const pai_slot *s);
/* The unit that alone reads the slot, whose contents nobody else wants; else NULL. */
pai_unit *pai_slot_only_reader(const pai_slot *s);
/* That unit where it is a Relu, which the step that makes y may do on the way. */
pai_unit *pai_following_relu(const pai_slot *y);
/* Lets `out` take the memory of `in`, which the step reads for the last time, if that is so. */
bool pai_slot_reuse(pai_plan *p, pai_slot *in, pai_slot *out);
/* Lets y be the memory of x, which holds the same bytes; false: they must be copied. */
bool pai_slot_view(pai_slot *x, pai_slot *y);
/* Appends a step that copies contents of one shape. */
void pai_emit_copy(pai_plan *p, pai_slot *from, pai_slot *to, const pai_node *node);
/* Threads for a step of so many multiply-adds. */
int pai_step_threads(const pai_plan *p, double work);

/* A sum over all axes but the channels: what the gradient of a bias is. */
bool pai_unit_sums_to_channels(const pai_unit *u);

typedef void (*pai_range_fn)(void *args, int64_t lo, int64_t hi, int thread);
/* Calls fn for parts of [0, n), the same parts for the same n and threads. */
void pai_parallel(int threads, int64_t n, pai_range_fn fn, void *args);

#endif

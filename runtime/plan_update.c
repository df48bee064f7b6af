/* plan_update.c -- parameters that move while a training step runs.
 *
 * A parameter moves as soon as three things hold: its gradient is there, the loss is known to be a
 * number, and no unit to come reads the parameter as it was. The gradient is then still in a cache,
 * and its memory free for what follows. A builder that makes a gradient in pieces may take the
 * update over and move the parameter by each piece, so that the whole is never written. Elements
 * move one by one, so neither the pieces nor the threads change the result.
 */
#include "runtime/fast/fast.h"
#include "runtime/simd.h"

enum { CHUNK = 1 << 12 }; /* elements a thread moves at a time */

typedef struct move_step {
	const pai_mover *mover;
	const pai_tensor *gradient;
	int64_t n;
	int threads;
} move_step;

void pai_mover_move(const pai_mover *m, int64_t from, int64_t n, float scale, const float *g)
{
	m->updates->move(m->updates->payload, m->index, (size_t)from, (size_t)n, scale, g);
}

static void move_chunks(void *args, int64_t lo, int64_t hi, int thread)
{
	const move_step *s = args;
	int64_t from = lo * CHUNK, to = hi * CHUNK < s->n ? hi * CHUNK : s->n;
	unsigned modes = pai_flush_subnormals();
	(void)thread;
	pai_mover_move(s->mover, from, to - from, 1, (const float *)s->gradient->data + from);
	pai_put_modes(modes);
}

static pai_status run_move(void *args, pai_run *run)
{
	move_step *s = args;
	(void)run;
	pai_parallel(s->threads, (s->n + CHUNK - 1) / CHUNK, move_chunks, s);
	return PAI_OK;
}

typedef struct begin_step {
	const pai_updates *updates;
	const pai_tensor *loss, *output;
} begin_step;

static pai_status run_begin(void *args, pai_run *run)
{
	const begin_step *s = args;
	(void)run;
	return s->updates->begin(s->updates->payload, *(const float *)s->loss->data, s->output);
}

static const pai_slot *root_of(const pai_slot *s)
{
	while (s->root != s)
		s = s->root;
	return s;
}

/* What it holds is there, after the steps so far. */
static bool is_made(const pai_slot *s)
{
	const pai_slot *r = root_of(s);
	return r->first >= 0 || r->place == PAI_IN_CONST || r->place == PAI_IN_INPUT || !r->maker;
}

static void emit_begin(pai_plan *p)
{
	begin_step *s = PAI_NEW(p->arena, begin_step);
	*s = (begin_step){p->options.updates, &p->loss->tensor,
			  p->output ? &p->output->tensor : NULL};
	pai_step_info info = {.name = "check loss", .impl = "own"};
	pai_plan_emit(p, (pai_step){run_begin, s}, info, 1, &p->loss, 0, NULL);
	p->begun = true;
}

/* No unit after this one reads the parameter, itself or by a view of it. */
static bool is_free(pai_plan *p, pai_mover *m)
{
	if (!p->begun || m->wait > p->unit)
		return false;
	for (int i = 0; i < p->slots.n; i++) {
		const pai_slot *s = p->slots.at[i];
		if (s->last_unit > p->unit && root_of(s) == m->parameter) {
			m->wait = s->last_unit;
			return false;
		}
	}
	return true;
}

static void emit_move(pai_plan *p, pai_mover *m)
{
	pai_slot *g = pai_slot_in(p, m->gradient, false);
	move_step *s = PAI_NEW(p->arena, move_step);
	*s = (move_step){.mover = m, .gradient = &g->tensor, .n = pai_tensor_nelem(&g->tensor)};
	s->threads = pai_step_threads(p, PAI_MOVE_WORK * (double)s->n);
	pai_step_info info = {
		.name = m->updates->name, .impl = "own", .bytes = 3.0 * (double)g->tensor.nbytes};
	pai_plan_emit(p, (pai_step){run_move, s}, info, 1, &g, 0, NULL);
	m->done = true;
}

void pai_emit_updates(pai_plan *p)
{
	if (p->loss && !p->begun && is_made(p->loss))
		emit_begin(p);
	for (int i = 0; i < p->n_movers; i++) {
		pai_mover *m = &p->movers[i];
		if (!m->done && is_made(m->gradient) && is_free(p, m))
			emit_move(p, m);
	}
}

const pai_mover *pai_mover_take(pai_plan *p, pai_slot *gradient, int n_in, pai_slot *const *in)
{
	pai_mover *m = gradient->mover;
	if (!m || m->done || gradient->readers != 1 || gradient->keep || gradient->root != gradient)
		return NULL;
	for (int i = 0; i < n_in; i++)
		if (in[i] && root_of(in[i]) == m->parameter)
			return NULL;
	if (!is_free(p, m))
		return NULL;
	m->done = true;
	return m;
}

/* scan.c -- Scan: (state..., slices of the scan inputs...) -> (state..., slices of scan
 * outputs...).
 *
 * From version 9 on each scan input and output names its axis and direction. Version 8 has a batch
 * axis in front of everything and lengths per batch item: it is the later form once per item, its
 * results stacked along a new first axis.
 */
#include "runtime/kernels/control.h"

typedef struct scan {
	const pai_graph *body;
	int states, inputs, outputs; /* outputs: those that are stacked */
	int first;                   /* input slot of the first state */
	int64_t length;
	pai_kept *now, *next; /* [states + inputs] */
	pai_stack *stacks;    /* [outputs] */
	const pai_tensor **in;
	pai_tensor *out; /* [states + outputs] */
} scan;

/* Element k of an attribute's list, 0 where it is absent. */
static pai_status list_item(pai_call *c, const char *name, int n, int k, int64_t *out)
{
	const int64_t *v;
	int given = pai_node_ints(c->node, name, &v);
	if (given >= 0 && given != n)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, name),
				"has %d elements, expected %d", given, n);
	*out = given > 0 ? v[k] : 0;
	return PAI_OK;
}

static pai_status allocate(pai_call *c, scan *s)
{
	int n = s->states + s->inputs;
	void *kept = NULL, *stacks = NULL, *in = NULL, *out = NULL;
	PAI_TRY(pai_call_room(c, 2 * n, sizeof(pai_kept), &kept));
	PAI_TRY(pai_call_room(c, s->outputs, sizeof(pai_stack), &stacks));
	PAI_TRY(pai_call_room(c, n, sizeof(pai_tensor *), &in));
	PAI_TRY(pai_call_room(c, s->states + s->outputs, sizeof(pai_tensor), &out));
	s->now = kept;
	s->next = s->now + n;
	s->stacks = stacks;
	s->in = in;
	s->out = out;
	for (int i = 0; i < 2 * n; i++)
		s->now[i] = (pai_kept){.capacity = 0};
	for (int i = 0; i < s->outputs; i++)
		s->stacks[i] = (pai_stack){.n = 0};
	return PAI_OK;
}

static pai_status prepare(pai_call *c, scan *s)
{
	s->first = c->node->op->since == 8 ? 1 : 0;
	int64_t inputs = pai_node_int(c->node, "num_scan_inputs", 0);
	if (inputs < 1 || inputs > c->n_in - s->first)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "num_scan_inputs"),
				"is %lld of %d inputs", (long long)inputs, c->n_in - s->first);
	s->inputs = (int)inputs;
	s->states = c->n_in - s->first - s->inputs;
	s->outputs = c->n_out - s->states;
	if (s->outputs < 0)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"has %d outputs for %d states", c->n_out, s->states);
	for (int i = s->first; i < c->n_in; i++)
		if (!c->in[i])
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, i),
					"is missing");
	PAI_TRY(pai_call_body(c, "body", s->states + s->inputs, s->states + s->outputs, &s->body));
	return allocate(c, s);
}

/* Element `at` along an axis of input `slot`, after fixing the first `batch_axes` (0 or 1) to
 * `item`. */
static pai_status take_slice(pai_call *c, int slot, int batch_axes, int64_t item, int axis,
			     int64_t at, pai_kept *to)
{
	const pai_tensor *x = c->in[slot];
	pai_box b = {.rank = 0};
	int64_t strides[PAI_MAX_RANK], dims[PAI_MAX_RANK];
	int64_t offset = 0;
	pai_strides(x->rank, x->dims, strides);
	for (int i = 0; i < x->rank; i++) {
		if (i == axis)
			offset += at * strides[i];
		else if (i < batch_axes)
			offset += item * strides[i];
		else {
			dims[b.rank] = b.dims[b.rank] = x->dims[i];
			b.from[b.rank++] = strides[i];
		}
	}
	pai_tensor part = {.dtype = x->dtype, .rank = b.rank, .dims = dims};
	pai_tensor *out[1] = {&part};
	pai_call view = *c;
	void *room = NULL;
	if (!pai_tensor_nbytes(x->dtype, b.rank, dims, &part.nbytes))
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, slot),
				"is too large");
	if (part.nbytes <= to->capacity)
		part.data = to->tensor.data;
	else
		PAI_TRY(pai_call_room(c, 1, part.nbytes, &room));
	part.data = room ? room : part.data;
	view.out = out;
	view.n_out = 1;
	pai_flat from, flat;
	PAI_TRY(pai_flat_in(c, slot, &from));
	PAI_TRY(pai_flat_out(&view, 0, &flat));
	pai_strides(b.rank, b.dims, b.to);
	if (pai_tensor_nelem(&part))
		pai_box_copy(&b, flat.at, from.at + (size_t)offset * from.size, from.size);
	pai_flat_done(&view, 0, &flat);
	to->capacity = part.nbytes > to->capacity ? part.nbytes : to->capacity;
	to->tensor = part;
	to->tensor.dims = to->dims;
	pai_copy(to->dims, dims, sizeof *dims * (size_t)b.rank);
	return PAI_OK;
}

static pai_status iterate(pai_call *c, scan *s)
{
	for (int k = 0; k < s->states + s->inputs; k++)
		s->in[k] = &s->now[k].tensor;
	PAI_TRY(pai_call_subgraph(c, s->body, s->states + s->inputs, s->in, s->states + s->outputs,
				  s->out));
	for (int k = 0; k < s->states; k++)
		PAI_TRY(pai_keep(c, &s->next[k], &s->out[k]));
	for (int k = 0; k < s->outputs; k++)
		PAI_TRY(pai_stack_push(c, &s->stacks[k], &s->out[s->states + k]));
	pai_kept *turn = s->now;
	s->now = s->next;
	s->next = turn;
	return PAI_OK;
}

/* Axis, direction of scan input k, and whether its length agrees with the others. */
static pai_status input_axis(pai_call *c, scan *s, int k, int *axis, bool *backwards)
{
	const pai_tensor *x = c->in[s->states + k];
	int64_t given = 0, direction = 0;
	PAI_TRY(list_item(c, "scan_input_axes", s->inputs, k, &given));
	PAI_TRY(list_item(c, "scan_input_directions", s->inputs, k, &direction));
	PAI_TRY(pai_call_axis(c, given, x->rank, axis));
	*backwards = direction;
	if (k > 0 && x->dims[*axis] != s->length)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, s->states + k),
				"has %lld elements to scan, the first has %lld",
				(long long)x->dims[*axis], (long long)s->length);
	s->length = x->dims[*axis];
	return PAI_OK;
}

static pai_status scan_9(pai_call *c, scan *s)
{
	int axis;
	bool backwards;
	for (int k = 0; k < s->inputs; k++)
		PAI_TRY(input_axis(c, s, k, &axis, &backwards));
	for (int k = 0; k < s->states; k++)
		PAI_TRY(pai_keep(c, &s->now[k], c->in[k]));
	for (int64_t i = 0; i < s->length; i++) {
		for (int k = 0; k < s->inputs; k++) {
			PAI_TRY(input_axis(c, s, k, &axis, &backwards));
			PAI_TRY(take_slice(c, s->states + k, 0, 0, axis,
					   backwards ? s->length - 1 - i : i,
					   &s->now[s->states + k]));
		}
		PAI_TRY(iterate(c, s));
	}
	for (int k = 0; k < s->states; k++)
		PAI_TRY(pai_hand_out(c, k, &s->now[k].tensor));
	for (int k = 0; k < s->outputs; k++) {
		int64_t at = 0, direction = 0;
		PAI_TRY(list_item(c, "scan_output_axes", s->outputs, k, &at));
		PAI_TRY(list_item(c, "scan_output_directions", s->outputs, k, &direction));
		PAI_TRY(pai_stack_output(c, s->states + k, &s->stacks[k], at, direction,
					 &s->body->outputs.at[s->states + k]->type));
	}
	return PAI_OK;
}

/* Length of batch item `item`: given, or that of the scan inputs, whose axes are [batch, sequence].
 */
static pai_status item_length(pai_call *c, scan *s, int64_t batch, int64_t item)
{
	const pai_tensor *lengths = c->in[0];
	for (int k = 0; k < s->inputs; k++) {
		const pai_tensor *x = c->in[s->first + s->states + k];
		if (x->rank < 2 || x->dims[0] != batch || (k > 0 && x->dims[1] != s->length))
			return pai_fail(c->ctx, PAI_E_runtime_shape,
					pai_at_input(c->node, s->first + s->states + k),
					"does not begin with the axes batch and sequence");
		s->length = x->dims[1];
	}
	if (!lengths)
		return PAI_OK;
	int64_t n = pai_tensor_nelem(lengths) == batch ? pai_tensor_get_int(lengths, item) : -1;
	if (n < 0 || n > s->length)
		return pai_fail(c->ctx, PAI_E_bad_index, pai_at_input(c->node, 0),
				"is not a length within the sequence for each batch item");
	s->length = n;
	return PAI_OK;
}

/* A stack of everything a batch item gave, padded by zeros where its sequence was shorter. */
static pai_status push_item(pai_call *c, const scan *s, int k, int64_t longest, pai_stack *to)
{
	const pai_stack *from = &s->stacks[k];
	pai_tensor whole = from->first;
	int64_t dims[PAI_MAX_RANK] = {longest};
	if (from->n == 0 || pai_dtype_get(whole.dtype)->bits < 8)
		return pai_fail(c->ctx, PAI_E_no_kernel, pai_at_node(c->node),
				"scans nothing, or strings or packed types, in version 8");
	pai_copy(dims + 1, from->dims, sizeof *dims * (size_t)whole.rank);
	whole.rank++;
	whole.dims = dims;
	void *room = NULL;
	PAI_TRY(pai_call_room(c, longest, from->first.nbytes, &room));
	size_t used = (size_t)from->n * from->first.nbytes;
	whole.nbytes = (size_t)longest * from->first.nbytes;
	pai_copy(room, from->data, used);
	pai_fill((uint8_t *)room + used, (int64_t)(whole.nbytes - used), "", 1);
	whole.data = room;
	return pai_stack_push(c, to, &whole);
}

static pai_status scan_8(pai_call *c, scan *s)
{
	const pai_tensor *first = c->in[s->first + s->states];
	int64_t batch = first->rank > 0 ? first->dims[0] : 0;
	void *room = NULL;
	PAI_TRY(pai_call_room(c, c->n_out, sizeof(pai_stack), &room));
	pai_stack *results = room;
	for (int k = 0; k < c->n_out; k++)
		results[k] = (pai_stack){.n = 0};
	for (int64_t item = 0; item < batch; item++) {
		PAI_TRY(item_length(c, s, batch, item));
		for (int k = 0; k < s->states; k++) {
			const pai_tensor *x = c->in[s->first + k];
			if (x->rank < 1 || x->dims[0] != batch)
				return pai_fail(c->ctx, PAI_E_runtime_shape,
						pai_at_input(c->node, s->first + k),
						"does not begin with the batch axis");
			PAI_TRY(take_slice(c, s->first + k, 1, item, -1, 0, &s->now[k]));
		}
		for (int k = 0; k < s->outputs; k++)
			s->stacks[k].n = 0;
		for (int64_t i = 0; i < s->length; i++) {
			for (int k = 0; k < s->inputs; k++) {
				int64_t direction = 0;
				PAI_TRY(list_item(c, "directions", s->inputs, k, &direction));
				PAI_TRY(take_slice(c, s->first + s->states + k, 1, item, 1,
						   direction ? s->length - 1 - i : i,
						   &s->now[s->states + k]));
			}
			PAI_TRY(iterate(c, s));
		}
		for (int k = 0; k < s->states; k++)
			PAI_TRY(pai_stack_push(c, &results[k], &s->now[k].tensor));
		for (int k = 0; k < s->outputs; k++)
			PAI_TRY(push_item(c, s, k, first->dims[1], &results[s->states + k]));
	}
	for (int k = 0; k < c->n_out; k++)
		PAI_TRY(pai_stack_output(c, k, &results[k], 0, false,
					 &s->body->outputs.at[k]->type));
	return PAI_OK;
}

static pai_status run(pai_call *c)
{
	scan s;
	PAI_TRY(prepare(c, &s));
	return s.first ? scan_8(c, &s) : scan_9(c, &s);
}

const pai_kernel pai_kernel_scan = {.run = run};

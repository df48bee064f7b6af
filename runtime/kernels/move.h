/* move.h -- moving elements without looking at them, shared by the kernels of this folder. */
#ifndef PAI_MOVE_H
#define PAI_MOVE_H

#include "runtime/runtime.h"

/* Scratch for count elements of `size` bytes; an error where there is none. */
PAI_MUST_USE pai_status pai_call_room(pai_call *c, int64_t count, size_t size, void **out);

typedef struct pai_flat { /* contents with whole bytes to an element */
	uint8_t *at;
	size_t size; /* bytes of an element */
} pai_flat;

/* Contents of an input; 2- and 4-bit types are unpacked into scratch. at is never written. */
PAI_MUST_USE pai_status pai_flat_in(pai_call *c, int input, pai_flat *out);
/* Where a kernel writes output o; pai_flat_done then packs 2- and 4-bit types into the output. */
PAI_MUST_USE pai_status pai_flat_out(pai_call *c, int o, pai_flat *out);
void pai_flat_done(pai_call *c, int o, const pai_flat *f);

/* A box of elements in memory. */
typedef struct pai_box {
	int rank;
	int64_t dims[PAI_MAX_RANK];
	int64_t to[PAI_MAX_RANK],
		from[PAI_MAX_RANK]; /* elements to the next; 0 repeats, < 0 goes back */
} pai_box;

/* The same box with as few dims as possible; false when it is empty. */
bool pai_box_simplify(const pai_box *b, pai_box *out);
/* to[i] = from[i] for every element of the box; `to` and `from` are its first element. */
void pai_box_copy(const pai_box *b, uint8_t *to, const uint8_t *from, size_t size);
/* A kernel that moves elements: copies the box, whose first element is `first` of input 0, to
 * output 0, of any type. */
PAI_MUST_USE pai_status pai_box_call(pai_call *c, const pai_box *b, int64_t first);
/* Strides of a tensor of these dims in C order. */
void pai_strides(int rank, const int64_t *dims, int64_t *out);
/* count times the element at `value`. */
void pai_fill(uint8_t *to, int64_t count, const void *value, size_t size);

/* axis made non-negative, an error outside [-rank, rank). */
PAI_MUST_USE pai_status pai_call_axis(pai_call *c, int64_t axis, int rank, int *out);
/* Integers of an attribute, or of input slot where the operator takes them there (slot < 0: it does
 * not). *n is -1 when they are absent. At most PAI_MAX_RANK * 2 of them are accepted. */
typedef struct pai_int_list {
	int n;
	int64_t at[2 * PAI_MAX_RANK];
} pai_int_list;
PAI_MUST_USE pai_status pai_call_ints(pai_call *c, const char *attr, int slot, pai_int_list *out);

typedef struct pai_range { /* start, start + step, ... : n of them, all inside the axis */
	int64_t start, step, n;
} pai_range;
/* Ranges of all axes from the parameters starts, ends, axes, steps, which stand in inputs first,
 * first + 1, ... or (Slice 1) in attributes. */
PAI_MUST_USE pai_status pai_slice_ranges(pai_call *c, int first, int rank, const int64_t *dims,
					 pai_range *r);

#endif

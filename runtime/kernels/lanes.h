/* lanes.h -- the element types kernels compute in, and the way there and back. Private to kernels.
 *
 * ONNX has 26 element types; arithmetic needs four. A kernel is written once per lane it needs and
 * reads and writes any type through a buffer of lane values; where the tensor's type is the lane
 * itself the tensor's memory is used directly, so that float tensors are never copied.
 */
#ifndef PAI_LANES_H
#define PAI_LANES_H

#include "runtime/runtime.h"

typedef enum pai_lane {
	PAI_LANE_F32, /* float and everything smaller */
	PAI_LANE_F64, /* double */
	PAI_LANE_I64, /* signed integers */
	PAI_LANE_U64, /* unsigned integers and bool */
	PAI_LANES,
	PAI_LANE_NONE = PAI_LANES, /* string, complex */
} pai_lane;

enum { PAI_CHUNK = 1024 }; /* elements of a conversion buffer */

typedef union pai_chunk { /* such a buffer */
	float f32[PAI_CHUNK];
	double f64[PAI_CHUNK];
	int64_t i64[PAI_CHUNK];
	uint64_t u64[PAI_CHUNK];
} pai_chunk;

pai_lane pai_lane_of(pai_dtype dtype);
size_t pai_lane_size(pai_lane lane);
/* The type is the lane's own: no conversion is needed. */
bool pai_lane_direct(pai_lane lane, pai_dtype dtype);
/* Elements first .. first+n of contents of any numeric type, converted to the lane. A float that
 * does not fit an integer lane saturates; NaN gives 0. */
void pai_lane_load(pai_lane lane, void *to, pai_dtype dtype, const void *from, int64_t first,
		   int64_t n);
/* And back. Integers keep their low bits; floats are rounded to nearest even, and saturate where
 * the target is an integer or a float of 8 or fewer bits; bool is "not zero". */
void pai_lane_store(pai_lane lane, const void *from, pai_dtype dtype, void *to, int64_t first,
		    int64_t n);
/* The contents of a tensor in the lane: its own memory, or a copy in scratch; NULL: no memory. */
const void *pai_lane_view(pai_call *c, pai_lane lane, const pai_tensor *t);
/* Memory to compute output o in: its own, or scratch that pai_lane_finish converts from. */
void *pai_lane_begin(pai_call *c, pai_lane lane, const pai_tensor *out);
void pai_lane_finish(pai_lane lane, const void *from, pai_tensor *out);

#endif

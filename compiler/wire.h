/* wire.h -- protobuf bytes, for the files that read and write them: wire.c, import.c, export.c,
 * external.c. Nothing else sees the generated messages. */
#ifndef PAI_WIRE_H
#define PAI_WIRE_H

#include "compiler/compiler.h"
#include "schemas/onnx.pb-c.h"

/* A payload of raw_data that is not decoded but pointed at. In the skeleton a mark of PAI_MARK
 * bytes stands in its place, the index of the blob in little-endian. Payloads of exactly that
 * length are blobs too, so that a mark is never mistaken. */
enum { PAI_MARK = 5, PAI_BLOB_BYTES = 1024 };

typedef struct pai_wire_patch { /* a length that is another one in the skeleton */
	size_t at, width;       /* of its varint in the file */
	size_t n;               /* in the skeleton */
	int blob;               /* whose length it is; -1: of a message */
} pai_wire_patch;

typedef struct pai_wire {     /* what the check found */
	const uint8_t *bytes; /* the file */
	size_t n;
	PAI_VEC(pai_wire_blob) blobs;    /* in file order */
	PAI_VEC(pai_wire_patch) patches; /* in file order */
	size_t n_messages;
	size_t memory; /* what decoding the skeleton takes, estimated from above */
} pai_wire;

/* Checks and lists; lists live in `a`. */
PAI_MUST_USE pai_status pai_wire_scan(pai_ctx *ctx, pai_arena *a, const char *file,
				      const ProtobufCMessageDescriptor *type, const void *bytes,
				      size_t n, pai_wire *out);
/* Decodes what has passed pai_wire_scan; the message lives in `a`, and raw_data of blobs points
 * into the file. */
PAI_MUST_USE pai_status pai_wire_decode(pai_ctx *ctx, pai_arena *a, const char *file,
					const ProtobufCMessageDescriptor *type, const void *bytes,
					size_t n, ProtobufCMessage **out);

#endif

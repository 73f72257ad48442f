/* Pictures: PNG and JPEG decoded to 8-bit grey or colour. Called by read.c and, through fovea.h, by
 * the command and users' programs. */
#include "base/alloc.h"
#include "base/file.h"
#include "base/npy.h"
#include "base/status.h"
#include "data/data.h"
#include <limits.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#ifdef FV_HAVE_PNG
#include <png.h>
#endif
#ifdef FV_HAVE_JPEG
#include <jpeglib.h>

#include <jerror.h> /* after jpeglib.h, whose version decides its numbers */
#endif

static const size_t most_bytes = (size_t)1 << 30; /* of a file */

/* A picture while it is decoded. `status` holds the outcome, with the message set. */
typedef struct decoder {
    const char *path;
    const unsigned char *file;
    size_t size, at;                /* of the file; what is read of it */
    size_t width, height, channels; /* channels 2 and 4: with opacity */
    uint8_t *pixels;
    fv_status status;
} decoder;

#if defined(FV_HAVE_PNG) || defined(FV_HAVE_JPEG)
static const size_t most_pixels = (size_t)1 << 26;

static bool check_size(decoder *d) {
    bool good = d->width > 0 && d->height > 0 && d->width <= most_pixels / d->height;
    if (!good)
        d->status =
            fv_fail(FV_FORMAT, "%s: a picture of %zux%zu pixels; at most %zu in all can be read",
                    d->path, d->height, d->width, most_pixels);
    return good;
}

static bool make_pixels(decoder *d) {
    d->pixels = fv_alloc(d->width * d->height, d->channels);
    d->status = d->pixels ? FV_OK : FV_MEMORY;
    return d->pixels != NULL;
}
#endif

/* ---- PNG ---------------------------------------------------------------------------------- */

#ifdef FV_HAVE_PNG
static void png_failed(png_structp png, png_const_charp message) {
    decoder *d = png_get_error_ptr(png);
    d->status = fv_fail(FV_FORMAT, "%s: cannot read the PNG picture: %s", d->path, message);
    png_longjmp(png, 1);
}

/* Warnings are about colour profiles and the like, which are not used here. */
static void png_warned(png_structp png, png_const_charp message) {
    (void)png, (void)message;
}

static void png_read_bytes(png_structp png, png_bytep bytes, size_t count) {
    decoder *d = png_get_io_ptr(png);
    if (count > d->size - d->at)
        png_error(png, "the file is cut off");
    memcpy(bytes, d->file + d->at, count);
    d->at += count;
}

/* Fills *d; libpng leaves it by a long jump when something is wrong. */
static void read_png_rows(decoder *d, png_structp png, png_infop info) {
    png_set_read_fn(png, d, png_read_bytes);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* check_size() has ours */
    png_read_info(png, info);
    d->width = png_get_image_width(png, info);
    d->height = png_get_image_height(png, info);
    if (!check_size(d))
        return;
    /* Deflate shrinks at most 1032:1: a larger promise cannot be kept. */
    if (png_get_rowbytes(png, info) * d->height / 1032 > d->size)
        png_error(png, "it says it has more pixels than its bytes can hold");
    png_set_expand(png);   /* palettes to colour, 1 to 4 bits to 8, transparency to opacity */
    png_set_scale_16(png); /* 16 bits to 8 */
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    d->channels = png_get_channels(png, info);
    if (png_get_rowbytes(png, info) != d->width * d->channels)
        png_error(png, "it has pixels of an unknown kind");
    if (!make_pixels(d))
        return;
    for (int pass = 0; pass < passes; pass++)
        for (size_t y = 0; y < d->height; y++)
            png_read_row(png, d->pixels + y * d->width * d->channels, NULL);
    png_read_end(png, NULL); /* checks that the end is there */
}

static void decode_png(decoder *d) {
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, d, png_failed, png_warned);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info)
        d->status = fv_fail(FV_MEMORY, "%s: out of memory", d->path);
    else if (setjmp(png_jmpbuf(png)) == 0)
        read_png_rows(d, png, info);
    png_destroy_read_struct(&png, &info, NULL);
}
#else
static void decode_png(decoder *d) {
    d->status = fv_fail(FV_UNSUPPORTED,
                        "%s is a PNG picture, and this build reads none: build with -Dpng=enabled",
                        d->path);
}
#endif

/* ---- JPEG --------------------------------------------------------------------------------- */

#ifdef FV_HAVE_JPEG
typedef struct jpeg_decoder {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    jmp_buf escape;
} jpeg_decoder;

/* In the place of libjpeg's own, which ends the program. */
static void jpeg_failed(j_common_ptr common) {
    jpeg_decoder *j = (jpeg_decoder *)common; /* whose first member it is */
    decoder *d = common->client_data;
    char message[JMSG_LENGTH_MAX];
    common->err->format_message(common, message);
    fv_status status = common->err->msg_code == JERR_OUT_OF_MEMORY ? FV_MEMORY : FV_FORMAT;
    d->status = fv_fail(status, "%s: cannot read the JPEG picture: %s", d->path, message);
    longjmp(j->escape, 1);
}

/* A warning (level -1) means that data are missing or wrong, and that libjpeg would go on with
 * grey. Superfluous bytes do no harm. */
static void jpeg_warned(j_common_ptr common, int level) {
    if (level < 0 && common->err->msg_code != JWRN_EXTRANEOUS_DATA)
        jpeg_failed(common);
}

/* Fills *d; jpeg_failed() leaves it by a long jump when something is wrong. */
static void read_jpeg_rows(decoder *d, struct jpeg_decompress_struct *jpeg) {
    jpeg_create_decompress(jpeg);
    jpeg_mem_src(jpeg, d->file, d->size);
    jpeg_read_header(jpeg, TRUE);
    if (jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK) {
        d->status = fv_fail(FV_UNSUPPORTED,
                            "%s: a JPEG picture of four inks (CMYK); save it in RGB", d->path);
        return;
    }
    bool grey = jpeg->jpeg_color_space == JCS_GRAYSCALE;
    jpeg->out_color_space = grey ? JCS_GRAYSCALE : JCS_RGB;
    d->width = jpeg->image_width;
    d->height = jpeg->image_height;
    d->channels = grey ? 1 : 3;
    if (!check_size(d) || !make_pixels(d))
        return;
    jpeg_start_decompress(jpeg);
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *row = d->pixels + jpeg->output_scanline * d->width * d->channels;
        jpeg_read_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_decompress(jpeg); /* checks that the end is there */
}

/* Apart from decode_jpeg(), since a long jump may spoil the variables of the function it is to. */
static void try_jpeg(decoder *d, jpeg_decoder *j) {
    if (setjmp(j->escape) == 0)
        read_jpeg_rows(d, &j->jpeg);
}

static void decode_jpeg(decoder *d) {
    jpeg_decoder j = {0};
    j.jpeg.err = jpeg_std_error(&j.errors);
    j.jpeg.client_data = d;
    j.errors.error_exit = jpeg_failed;
    j.errors.emit_message = jpeg_warned;
    try_jpeg(d, &j);
    jpeg_destroy_decompress(&j.jpeg);
}
#else
static void decode_jpeg(decoder *d) {
    d->status = fv_fail(
        FV_UNSUPPORTED,
        "%s is a JPEG picture, and this build reads none: build with -Djpeg=enabled", d->path);
}
#endif

/* ---- Any file ----------------------------------------------------------------------------- */

/* Pixels to values; what is not opaque is laid over black. */
static fv_status pixels_to_values(const decoder *d, fv_shape *shape, float **values) {
    bool opacity = d->channels == 2 || d->channels == 4;
    size_t colours = d->channels - (opacity ? 1 : 0), pixels = d->width * d->height;
    float *result = fv_alloc(pixels * colours, sizeof *result);
    if (!result)
        return FV_MEMORY;
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *pixel = d->pixels + i * d->channels;
        for (size_t c = 0; c < colours; c++)
            result[i * colours + c] =
                opacity ? (float)(pixel[c] * pixel[colours]) / 255.0f : pixel[c];
    }
    *shape =
        (fv_shape){.rank = 2, .size = {(int)d->height, (int)d->width}, .channels = (int)colours};
    *values = result;
    return FV_OK;
}

static fv_status read_picture(decoder *d, void (*decode)(decoder *), fv_shape *shape,
                              float **values) {
    decode(d);
    if (!d->status)
        d->status = pixels_to_values(d, shape, values);
    fv_free(d->pixels);
    return d->status;
}

/* An array's last axis is its channels, the others are spatial. */
static fv_status read_npy(const decoder *d, fv_shape *shape, float **values) {
    int rank;
    size_t sizes[5];
    float *array;
    fv_status status = fv_decode_npy(d->path, d->file, d->size, &rank, sizes, &array);
    if (status)
        return status;
    bool fits = rank >= 1 && rank <= 4;
    for (int axis = 0; axis < rank; axis++)
        fits = fits && sizes[axis] <= INT_MAX;
    if (!fits) {
        fv_free(array);
        return fv_fail(FV_SHAPE,
                       "%s: an array of %d axes; expected 1 to 4 (the channels last), each of at "
                       "most %d",
                       d->path, rank, INT_MAX);
    }
    *shape = (fv_shape){.rank = rank - 1, .channels = (int)sizes[rank - 1]};
    for (int axis = 0; axis < rank - 1; axis++)
        shape->size[axis] = (int)sizes[axis];
    *values = array;
    return FV_OK;
}

static fv_status read_any(decoder *d, fv_shape *shape, float **values) {
    if (d->size >= 8 && memcmp(d->file, "\x89PNG\r\n\x1a\n", 8) == 0)
        return read_picture(d, decode_png, shape, values);
    if (d->size >= 3 && memcmp(d->file, "\xff\xd8\xff", 3) == 0)
        return read_picture(d, decode_jpeg, shape, values);
    if (d->size >= 6 && memcmp(d->file, "\x93NUMPY", 6) == 0)
        return read_npy(d, shape, values);
    return fv_fail(FV_FORMAT,
                   "%s: not a PNG or JPEG picture or a .npy array (told by its first "
                   "bytes)",
                   d->path);
}

fv_status fv_read_array(const char *path, fv_shape *shape, float **values) {
    char *file;
    decoder d = {.path = path};
    fv_status status = fv_read_file(path, most_bytes, &file, &d.size);
    if (status)
        return status;
    d.file = (const unsigned char *)file;
    status = read_any(&d, shape, values);
    fv_free(file);
    return status;
}

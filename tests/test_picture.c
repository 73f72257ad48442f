/* Tests of src/data/picture.c and npy.c: PNG and JPEG pictures made here, .npy files as NumPy
 * writes them, each cut at every length. */
#include "base/alloc.h"
#include "base/npy.h"
#include "data/data.h"
#include "files.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#ifdef FV_HAVE_PNG
#include <png.h>
#endif
#ifdef FV_HAVE_JPEG
#include <jpeglib.h>
#endif

static void expect_values(const float *got, const float *wanted, size_t count, float bound) {
    for (size_t i = 0; i < count; i++)
        if (!(fabsf(got[i] - wanted[i]) <= bound))
            fail_msg("value %zu is %g, expected %g within %g", i, (double)got[i], (double)wanted[i],
                     (double)bound);
}

#if defined(FV_HAVE_PNG) || defined(FV_HAVE_JPEG)
/* Reads `name` and compares shape and values. */
static void expect_picture(const char *name, int height, int width, int channels,
                           const float *wanted, float bound) {
    fv_shape shape;
    float *values = NULL;
    if (fv_read_array(in_folder(name), &shape, &values))
        fail_msg("%s", fv_error_message());
    assert_int_equal(shape.rank, 2);
    assert_int_equal(shape.size[0], height);
    assert_int_equal(shape.size[1], width);
    assert_int_equal(shape.channels, channels);
    expect_values(values, wanted, (size_t)height * (size_t)width * (size_t)channels, bound);
    fv_free_memory(values);
}
#endif

static void expect_no_array(const void *bytes, size_t size, fv_status status, const char *words) {
    const char *path = in_folder("bad");
    fv_shape shape;
    float *values = NULL;
    write_file(path, bytes, size);
    expect_failure(fv_read_array(path, &shape, &values), status, words);
    expect_message(path);
    assert_null(values);
}

/* No beginning of the file is a picture, each says FV_FORMAT; no changed byte does harm. */
static void cut_and_damage(const char *name) {
    size_t size;
    unsigned char *bytes = read_whole(in_folder(name), &size);
    for (size_t cut = 0; cut < size; cut++)
        expect_no_array(bytes, cut, FV_FORMAT, "");
    for (size_t at = 0; at < size; at++) {
        const unsigned char changes[] = {0x01, 0x80, 0xff};
        for (int i = 0; i < 3; i++) {
            fv_shape shape;
            float *values = NULL;
            bytes[at] ^= changes[i];
            write_file(in_folder("bad"), bytes, size);
            bool good = fv_read_array(in_folder("bad"), &shape, &values) == FV_OK;
            assert_true(good == (values != NULL));
            fv_free_memory(values);
            bytes[at] ^= changes[i];
        }
    }
    free(bytes);
}

static void without_memory(const char *name) {
    fv_shape shape;
    float *values;
    fv_status status = FV_MEMORY;
    int failures = -1;
    while (status == FV_MEMORY) {
        values = NULL;
        allocations_left = ++failures;
        status = fv_read_array(in_folder(name), &shape, &values);
        allocations_left = -1;
    }
    assert_int_equal(status, FV_OK);
    assert_true(failures >= 2);
    fv_free_memory(values);
}

/* ---- PNG --------------------------------------------------------------------------------- */

#ifdef FV_HAVE_PNG
typedef struct png_kind {
    int width, height, type, depth, interlace;
    bool clear_first; /* palette entry 0 or grey 0 is transparent */
} png_kind;

/* Writes rows as they are in the file, packed for depths below 8. */
static void write_png(const char *name, const png_kind *kind, const uint8_t *rows) {
    FILE *file = fopen(in_folder(name), "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!file || !info || setjmp(png_jmpbuf(png)))
        fail_msg("the test cannot write a PNG picture");
    png_init_io(png, file);
    png_set_IHDR(png, info, (png_uint_32)kind->width, (png_uint_32)kind->height, kind->depth,
                 kind->type, kind->interlace, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    const png_color colours[] = {{10, 20, 30}, {40, 50, 60}, {250, 0, 128}};
    const png_byte clear[] = {0};
    const png_color_16 black = {0};
    if (kind->type == PNG_COLOR_TYPE_PALETTE)
        png_set_PLTE(png, info, colours, 3);
    if (kind->clear_first)
        png_set_tRNS(png, info, clear, 1, &black);
    png_write_info(png, info);
    size_t stride = png_get_rowbytes(png, info);
    int passes = png_set_interlace_handling(png);
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < kind->height; y++)
            png_write_row(png, rows + (size_t)y * stride);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    fclose(file);
}

static void png_kinds(void **state) {
    (void)state;
    write_png("grey", &(png_kind){3, 2, PNG_COLOR_TYPE_GRAY, 8, 0, false},
              (const uint8_t[]){0, 1, 2, 128, 254, 255});
    expect_picture("grey", 2, 3, 1, (const float[]){0, 1, 2, 128, 254, 255}, 0);
    write_png("colour", &(png_kind){1, 2, PNG_COLOR_TYPE_RGB, 8, 0, false},
              (const uint8_t[]){0, 100, 255, 7, 8, 9});
    expect_picture("colour", 2, 1, 3, (const float[]){0, 100, 255, 7, 8, 9}, 0);
    /* Opacity: over black, value * opacity / 255. */
    write_png("grey+", &(png_kind){3, 1, PNG_COLOR_TYPE_GRAY_ALPHA, 8, 0, false},
              (const uint8_t[]){200, 255, 200, 0, 255, 51});
    expect_picture("grey+", 1, 3, 1, (const float[]){200, 0, 51}, 1e-4f);
    write_png("colour+", &(png_kind){2, 1, PNG_COLOR_TYPE_RGB_ALPHA, 8, 0, false},
              (const uint8_t[]){10, 20, 30, 255, 255, 100, 50, 102});
    expect_picture("colour+", 1, 2, 3, (const float[]){10, 20, 30, 102, 40, 20}, 1e-4f);
    /* 16 bits: 0x8000 * 255 / 65535 = 127.5 */
    write_png("deep", &(png_kind){3, 1, PNG_COLOR_TYPE_GRAY, 16, 0, false},
              (const uint8_t[]){0, 0, 0x80, 0, 0xff, 0xff});
    expect_picture("deep", 1, 3, 1, (const float[]){0, 127.5f, 255}, 0.5f);
}

static void small_png_kinds(void **state) {
    (void)state;
    write_png("bits", &(png_kind){5, 1, PNG_COLOR_TYPE_GRAY, 1, 0, false},
              (const uint8_t[]){0xa8}); /* 10101 */
    expect_picture("bits", 1, 5, 1, (const float[]){255, 0, 255, 0, 255}, 0);
    write_png("bits2", &(png_kind){4, 1, PNG_COLOR_TYPE_GRAY, 2, 0, false},
              (const uint8_t[]){0x1b}); /* 0, 1, 2, 3 */
    expect_picture("bits2", 1, 4, 1, (const float[]){0, 85, 170, 255}, 0);
    write_png("palette", &(png_kind){3, 1, PNG_COLOR_TYPE_PALETTE, 2, 0, false},
              (const uint8_t[]){0x18}); /* 0, 1, 2 */
    expect_picture("palette", 1, 3, 3, (const float[]){10, 20, 30, 40, 50, 60, 250, 0, 128}, 0);
    write_png("palette+", &(png_kind){3, 1, PNG_COLOR_TYPE_PALETTE, 2, 0, true},
              (const uint8_t[]){0x18});
    expect_picture("palette+", 1, 3, 3, (const float[]){0, 0, 0, 40, 50, 60, 250, 0, 128}, 0);
}

static void interlaced_png(void **state) {
    (void)state;
    uint8_t pixels[11 * 9];
    float wanted[11 * 9];
    for (int i = 0; i < 11 * 9; i++)
        wanted[i] = pixels[i] = (uint8_t)(i * 2);
    write_png("interlaced", &(png_kind){11, 9, PNG_COLOR_TYPE_GRAY, 8, PNG_INTERLACE_ADAM7, false},
              pixels);
    expect_picture("interlaced", 9, 11, 1, wanted, 0);
    cut_and_damage("interlaced");
}

static void damaged_png(void **state) {
    (void)state;
    uint8_t pixels[12 * 7 * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * i);
    write_png("whole", &(png_kind){12, 7, PNG_COLOR_TYPE_RGB, 8, 0, false}, pixels);
    cut_and_damage("whole");
    without_memory("whole");
}

static uint32_t checksum(const uint8_t *bytes, size_t size) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void put_word(uint8_t *bytes, uint32_t word) {
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(word >> (24 - 8 * i));
}

/* A picture of few bytes whose header claims other sizes, with the right checksum. */
static void lying_png(void **state) {
    (void)state;
    static const struct {
        uint32_t width, height;
        const char *words;
    } cases[] = {
        {0x80000000u, 1, "cannot read the PNG picture"},
        {1, 0x80000000u, "cannot read the PNG picture"},
        {0x80000000u, 0x80000000u, "cannot read the PNG picture"},
        {0x7fffffff, 0x7fffffff, "2147483647x2147483647 pixels; at most 67108864"},
        {0x7fffffff, 1, "1x2147483647 pixels; at most 67108864"},
        {8192, 8193, "8193x8192 pixels; at most 67108864"},
        {8192, 8192, "more pixels than its bytes can hold"},
        {0, 8, "cannot read the PNG picture"},
        {3, 3, "cannot read the PNG picture"}, /* one row more than there is */
    };
    write_png("small", &(png_kind){3, 2, PNG_COLOR_TYPE_GRAY, 8, 0, false},
              (const uint8_t[]){0, 1, 2, 3, 4, 5});
    size_t size;
    unsigned char *bytes = read_whole(in_folder("small"), &size);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_word(bytes + 16, cases[i].width);
        put_word(bytes + 20, cases[i].height);
        put_word(bytes + 29, checksum(bytes + 12, 17));
        expect_no_array(bytes, size, FV_FORMAT, cases[i].words);
    }
    free(bytes);
}
#endif

/* ---- JPEG -------------------------------------------------------------------------------- */

#ifdef FV_HAVE_JPEG
static void write_jpeg(const char *name, int width, int height, int channels, J_COLOR_SPACE space,
                       bool progressive, const uint8_t *pixels) {
    FILE *file = fopen(in_folder(name), "wb");
    if (!file)
        fail_msg("the test cannot write a JPEG picture");
    struct jpeg_error_mgr errors;
    struct jpeg_compress_struct jpeg;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_stdio_dest(&jpeg, file);
    jpeg.image_width = (JDIMENSION)width;
    jpeg.image_height = (JDIMENSION)height;
    jpeg.input_components = channels;
    jpeg.in_color_space = space;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 100, TRUE);
    if (progressive)
        jpeg_simple_progression(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    for (int y = 0; y < height; y++) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(pixels + y * width * channels);
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    fclose(file);
}

/* A slope of grey, and (where channels is 3) a colour that is even: both survive compression. */
static void make_slope(int width, int height, int channels, uint8_t *pixels, float *values) {
    for (int i = 0; i < width * height; i++)
        for (int c = 0; c < channels; c++) {
            int value = channels == 1 ? i % width * 7 + i / width * 3 : 200 - 60 * c;
            values[i * channels + c] = pixels[i * channels + c] = (uint8_t)value;
        }
}

static void jpeg_kinds(void **state) {
    (void)state;
    uint8_t pixels[17 * 11 * 3];
    float values[17 * 11 * 3];
    for (int progressive = 0; progressive < 2; progressive++) {
        make_slope(17, 11, 1, pixels, values);
        write_jpeg("grey.jpg", 17, 11, 1, JCS_GRAYSCALE, progressive, pixels);
        expect_picture("grey.jpg", 11, 17, 1, values, 2);
        make_slope(17, 11, 3, pixels, values);
        write_jpeg("colour.jpg", 17, 11, 3, JCS_RGB, progressive, pixels);
        expect_picture("colour.jpg", 11, 17, 3, values, 2);
    }
}

static void damaged_jpeg(void **state) {
    (void)state;
    uint8_t pixels[17 * 11];
    float values[17 * 11];
    make_slope(17, 11, 1, pixels, values);
    for (int progressive = 0; progressive < 2; progressive++) {
        write_jpeg("whole.jpg", 17, 11, 1, JCS_GRAYSCALE, progressive, pixels);
        cut_and_damage("whole.jpg");
        without_memory("whole.jpg");
    }
}

static void four_inks(void **state) {
    (void)state;
    const uint8_t pixels[4 * 4] = {0};
    write_jpeg("inks.jpg", 2, 2, 4, JCS_CMYK, false, pixels);
    size_t size;
    unsigned char *bytes = read_whole(in_folder("inks.jpg"), &size);
    expect_no_array(bytes, size, FV_UNSUPPORTED, "CMYK");
    free(bytes);
}

/* 65,500 x 65,500 pixels in the header of a small file. */
static void large_jpeg(void **state) {
    (void)state;
    uint8_t pixels[17 * 11];
    float values[17 * 11];
    make_slope(17, 11, 1, pixels, values);
    write_jpeg("large.jpg", 17, 11, 1, JCS_GRAYSCALE, false, pixels);
    size_t size, at = 2;
    unsigned char *bytes = read_whole(in_folder("large.jpg"), &size);
    while (at + 9 < size && bytes[at + 1] != 0xc0) /* from marker to marker, up to the frame's */
        at += 2 + ((size_t)bytes[at + 2] << 8) + bytes[at + 3];
    assert_true(at + 9 < size);
    for (size_t i = at + 5; i < at + 9; i += 2) {
        bytes[i] = 65500 >> 8;
        bytes[i + 1] = 65500 & 255;
    }
    expect_no_array(bytes, size, FV_FORMAT, "65500x65500 pixels; at most 67108864");
    free(bytes);
}
#endif

static void other_files(void **state) {
    (void)state;
    expect_no_array("", 0, FV_FORMAT, "not a PNG or JPEG picture or a .npy array");
    expect_no_array("GIF89a nonsense", 15, FV_FORMAT, "not a PNG or JPEG picture");
    fv_shape shape;
    float *values;
    expect_failure(fv_read_array(in_folder("nowhere"), &shape, &values), FV_IO, "nowhere");
    expect_failure(fv_read_array(in_folder(""), &shape, &values), FV_IO, "folder");
#ifndef FV_HAVE_PNG
    expect_no_array("\x89PNG\r\n\x1a\n", 8, FV_UNSUPPORTED, "-Dpng=enabled");
#endif
#ifndef FV_HAVE_JPEG
    expect_no_array("\xff\xd8\xff", 3, FV_UNSUPPORTED, "-Djpeg=enabled");
#endif
}

/* ---- .npy -------------------------------------------------------------------------------- */

/* A file of version `version` with that dictionary and `size` bytes of values. */
static size_t make_npy(unsigned char *file, int version, const char *dictionary, const void *values,
                       size_t size) {
    size_t length = strlen(dictionary), at = 10;
    memcpy(file, "\x93NUMPY", 6);
    file[6] = (unsigned char)version;
    file[7] = 0;
    file[8] = (unsigned char)(length & 255);
    file[9] = (unsigned char)(length >> 8);
    if (version > 1) {
        file[10] = file[11] = 0;
        at = 12;
    }
    memcpy(file + at, dictionary, length);
    if (size > 0)
        memcpy(file + at + length, values, size);
    return at + length + size;
}

static fv_status read_npy_bytes(const unsigned char *file, size_t size, int *rank, size_t sizes[5],
                                float **values) {
    write_file(in_folder("array.npy"), file, size);
    *values = NULL;
    return fv_read_npy(in_folder("array.npy"), rank, sizes, values);
}

static void expect_npy(int version, const char *dictionary, const void *values, size_t size,
                       int wanted_rank, const size_t *wanted_sizes, const float *wanted) {
    unsigned char file[1000];
    size_t whole = make_npy(file, version, dictionary, values, size), sizes[5], count = 1;
    int rank;
    float *got;
    if (read_npy_bytes(file, whole, &rank, sizes, &got))
        fail_msg("%s", fv_error_message());
    assert_int_equal(rank, wanted_rank);
    for (int axis = 0; axis < rank; axis++) {
        assert_int_equal(sizes[axis], wanted_sizes[axis]);
        count *= sizes[axis];
    }
    expect_values(got, wanted, count, 0);
    fv_npy in_place; /* the same in the file's own memory, but bytes stay bytes */
    assert_int_equal(fv_read_npy_values(in_folder("array.npy"), &in_place), FV_OK);
    assert_int_equal(in_place.rank, rank);
    assert_memory_equal(in_place.sizes, sizes, (size_t)rank * sizeof *sizes);
    assert_true((in_place.bytes != NULL) == (strstr(dictionary, "|u1") != NULL));
    for (size_t i = 0; in_place.bytes && i < count; i++)
        got[i] = in_place.bytes[i];
    expect_values(in_place.bytes ? got : in_place.floats, wanted, count, 0);
    fv_free(in_place.bytes);
    fv_free(in_place.floats);
    fv_free_memory(got);
}

static void npy_types(void **state) {
    (void)state;
    const size_t sizes[] = {3};
    const float f4[] = {1.5f, -2, FLT_MAX};
    expect_npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n", f4, sizeof f4, 1,
               sizes, f4);
    const double f8[] = {1.5, -2, 0.1};
    expect_npy(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }\n", f8, sizeof f8, 1,
               sizes, (const float[]){1.5f, -2, 0.1f});
    /* 1.5, -2, the largest, the smallest, the largest below normal numbers */
    const uint16_t f2[] = {0x3E00, 0xC000, 0x7BFF, 0x8001, 0x03FF};
    expect_npy(1, "{'descr': '<f2', 'fortran_order': False, 'shape': (5,), }\n", f2, sizeof f2, 1,
               (const size_t[]){5}, (const float[]){1.5f, -2, 65504, -0x1p-24f, 0x1.FF8p-15f});
    const uint8_t u1[] = {0, 128, 255};
    expect_npy(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }\n", u1, sizeof u1, 1,
               sizes, (const float[]){0, 128, 255});
    const int32_t i4[] = {0, -1, 1 << 24};
    expect_npy(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }\n", i4, sizeof i4, 1,
               sizes, (const float[]){0, -1, 16777216});
    const int64_t i8[] = {0, -1, 1ll << 40};
    expect_npy(1, "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }\n", i8, sizeof i8, 1,
               sizes, (const float[]){0, -1, 0x1p40f});
}

static void npy_spellings(void **state) {
    (void)state;
    const float v[] = {1, 2, 3, 4, 5, 6};
    const size_t sizes[] = {1, 2, 1, 3, 1};
    expect_npy(2, "{\"shape\": (1,2,1,3,1),\"descr\":\"<f4\",\"fortran_order\":False}", v, sizeof v,
               5, sizes, v);
    expect_npy(3,
               " { 'fortran_order' : False , 'shape' : ( 1 , 2, 1 ,3, 1, ) , 'descr' : '<f4' } \n",
               v, sizeof v, 5, sizes, v);
    expect_npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }", v, 4, 0, sizes, v);
}

static void lying_npy(void **state) {
    (void)state;
    static const struct {
        const char *dictionary;
        fv_status status;
        const char *words;
    } cases[] = {
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }", FV_UNSUPPORTED, "'>f4'"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (3,), }", FV_UNSUPPORTED, "'<c8'"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", FV_UNSUPPORTED, "'|O'"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", FV_UNSUPPORTED, "Fortran"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }", FV_FORMAT,
         "goes on after its end: its header says that 16 bytes of values follow, found 24"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4), }", FV_FORMAT,
         "cut off: its header says that 32 bytes of values follow, found 24"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 0), }", FV_FORMAT, "empty: axis 1"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", FV_FORMAT,
         "more values than any memory"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", FV_FORMAT,
         "damaged"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -3), }", FV_FORMAT, "damaged"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2 3), }", FV_FORMAT, "damaged"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (,), }", FV_FORMAT, "damaged"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6), }x", FV_FORMAT, "damaged"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,", FV_FORMAT, "damaged"},
        {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (6,), }", FV_FORMAT, "damaged"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,6), }", FV_FORMAT,
         "at most 5 axes"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,), }", FV_FORMAT,
         "array of numbers"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", FV_FORMAT, ""},
        {"{'descr': '<f4', 'fortran_order': False}", FV_FORMAT, "damaged"},
        {"{'descr': '<f4', 'other': False, 'shape': (6,), }", FV_FORMAT, "damaged"},
        {"{'descr': '<f4<f4<f4<f4<f4<f4', 'fortran_order': False, 'shape': (6,)}", FV_FORMAT, ""},
        {"{'descr': '<f4", FV_FORMAT, "damaged"},
        {"{", FV_FORMAT, "damaged"},
        {"", FV_FORMAT, "damaged"},
    };
    const float v[] = {1, 2, 3, 4, 5, 6};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char file[1000];
        size_t size = make_npy(file, 1, cases[i].dictionary, v, sizeof v);
        expect_no_array(file, size, cases[i].status, cases[i].words);
    }
}

static void lying_npy_header(void **state) {
    (void)state;
    const char *good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
    const float v[] = {1, 2, 3, 4, 5, 6};
    unsigned char file[1000];
    for (int version = 0; version < 6; version++) {
        size_t size = make_npy(file, version, good, v, sizeof v);
        if (version < 1 || version > 3)
            expect_no_array(file, size, FV_FORMAT, "expected 1 to 3");
    }
    size_t size = make_npy(file, 2, good, v, sizeof v);
    memset(file + 8, 0xff, 4); /* a header of 4 GiB */
    expect_no_array(file, size, FV_FORMAT, "its header says it has 4294967295 bytes, but only");
    size = make_npy(file, 1, good, v, sizeof v);
    file[9] = 0xff;
    expect_no_array(file, size, FV_FORMAT, "bytes, but only");
    expect_failure(fv_read_npy(in_folder("nowhere"), &(int){0}, (size_t[5]){0}, &(float *){0}),
                   FV_IO, "nowhere");
    write_file(in_folder("bad"), "\x93NUMPX\1\0\0\0", 10);
    expect_failure(fv_read_npy(in_folder("bad"), &(int){0}, (size_t[5]){0}, &(float *){0}),
                   FV_FORMAT, "not a .npy file");
}

static void npy_round_trip(void **state) {
    (void)state;
    const size_t sizes[] = {2, 3, 1, 2, 2};
    float values[24];
    for (int i = 0; i < 24; i++)
        values[i] = (float)i / 3;
    values[5] = INFINITY;
    values[7] = -0.0f;
    values[23] = NAN;
    const size_t counts[] = {1, 2, 6, 6, 12, 24};
    for (int rank = 0; rank <= 5; rank++) {
        const char *path = in_folder("trip.npy");
        int got_rank;
        size_t got_sizes[5];
        float *got;
        assert_int_equal(fv_write_npy(path, rank, sizes, values), FV_OK);
        assert_int_equal(fv_read_npy(path, &got_rank, got_sizes, &got), FV_OK);
        assert_int_equal(got_rank, rank);
        assert_memory_equal(got_sizes, sizes, (size_t)rank * sizeof sizes[0]);
        assert_memory_equal(got, values, counts[rank] * sizeof *values);
        fv_free_memory(got);
    }
    cut_and_damage("trip.npy"); /* 5 axes are no picture, but cut ones fail earlier */
    assert_int_equal(fv_write_npy(in_folder("trip.npy"), 2, sizes, values), FV_OK);
    without_memory("trip.npy");
}

/* Byte for byte what numpy.save() writes of numpy.float32([[1, 2, 3], [4, 5, 6]]). */
static void npy_as_numpy_writes_it(void **state) {
    (void)state;
    const float v[] = {1, 2, 3, 4, 5, 6};
    char wanted[128];
    memset(wanted, ' ', sizeof wanted);
    memcpy(wanted, "\x93NUMPY\1\0v\0", 10); /* 'v' is 118 */
    const char *dictionary = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    memcpy(wanted + 10, dictionary, strlen(dictionary));
    wanted[127] = '\n';
    assert_int_equal(fv_write_npy(in_folder("two.npy"), 2, (const size_t[]){2, 3}, v), FV_OK);
    size_t size;
    unsigned char *bytes = read_whole(in_folder("two.npy"), &size);
    assert_int_equal(size, 128 + sizeof v);
    assert_memory_equal(bytes, wanted, 128);
    assert_memory_equal(bytes + 128, v, sizeof v);
    free(bytes);
}

static void npy_refuses_to_write(void **state) {
    (void)state;
    const float v[] = {1};
    const char *path = in_folder("no.npy");
    const size_t empty[] = {0}, huge[] = {SIZE_MAX / 2, 3}, one[] = {1, 1, 1, 1, 1, 1};
    expect_failure(fv_write_npy(path, 1, empty, v), FV_INVALID, "axis 0 of size 0");
    expect_failure(fv_write_npy(path, 2, huge, v), FV_INVALID, "too large");
    expect_failure(fv_write_npy(path, 6, one, v), FV_INVALID, "6 axes");
    expect_failure(fv_write_npy(path, -1, one, v), FV_INVALID, "-1 axes");
    expect_failure(fv_write_npy(in_folder("no/no.npy"), 1, one, v), FV_IO, "no/no.npy");
    expect_failure(fv_read_npy(path, &(int){0}, (size_t[5]){0}, &(float *){0}), FV_IO, "no.npy");
}

/* The last axis is the channels. */
static void npy_as_array(void **state) {
    (void)state;
    const float v[120] = {7};
    const size_t sizes[] = {2, 3, 4, 5, 1};
    for (int rank = 0; rank <= 5; rank++) {
        fv_shape shape;
        float *values = NULL;
        assert_int_equal(fv_write_npy(in_folder("any.npy"), rank, sizes, v), FV_OK);
        fv_status status = fv_read_array(in_folder("any.npy"), &shape, &values);
        if (rank < 1 || rank > 4) {
            expect_failure(status, FV_SHAPE, "expected 1 to 4 (the channels last)");
            assert_null(values);
            continue;
        }
        assert_int_equal(status, FV_OK);
        assert_int_equal(shape.rank, rank - 1);
        assert_int_equal(shape.channels, sizes[rank - 1]);
        for (int axis = 0; axis < rank - 1; axis++)
            assert_int_equal(shape.size[axis], sizes[axis]);
        fv_free_memory(values);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#ifdef FV_HAVE_PNG
        cmocka_unit_test(png_kinds),
        cmocka_unit_test(small_png_kinds),
        cmocka_unit_test(interlaced_png),
        cmocka_unit_test(damaged_png),
        cmocka_unit_test(lying_png),
#endif
#ifdef FV_HAVE_JPEG
        cmocka_unit_test(jpeg_kinds),
        cmocka_unit_test(damaged_jpeg),
        cmocka_unit_test(four_inks),
        cmocka_unit_test(large_jpeg),
#endif
        cmocka_unit_test(other_files),
        cmocka_unit_test(npy_types),
        cmocka_unit_test(npy_spellings),
        cmocka_unit_test(lying_npy),
        cmocka_unit_test(lying_npy_header),
        cmocka_unit_test(npy_round_trip),
        cmocka_unit_test(npy_as_numpy_writes_it),
        cmocka_unit_test(npy_refuses_to_write),
        cmocka_unit_test(npy_as_array),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}

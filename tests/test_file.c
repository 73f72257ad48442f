/* Tests of src/base/file.c: what may be read, and that a write which does not come to its end
 * leaves the old file and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <base/file.h>
#include <base/status.h>
#include <dirent.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

/* The name of a file in this test's folder, in one of some buffers. */
static const char *in_folder(const char *name) {
    static char names[16][512];
    static int next;
    char *path = names[next++ % 16];
    snprintf(path, sizeof names[0], "%s/%s", folder, name);
    return path;
}

static int make_test_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/fovea-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place) {
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

static int remove_test_folder(void **state) {
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void assert_contents(const char *path, const char *expected) {
    char *bytes;
    size_t size;
    assert_int_equal(fv_read_file(path, 1 << 20, &bytes, &size), FV_OK);
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(bytes, expected, size + 1);
    fv_free(bytes);
}

static int entries(void) {
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    int count = 0;
    while (readdir(listing)) {
        count++;
    }
    closedir(listing);
    return count - 2; /* without . and .. */
}

static void assert_unreadable(const char *path, fv_status expected, const char *reason) {
    char *bytes = (char *)1;
    size_t size = 1;
    fv_mapping mapping;
    assert_int_equal(fv_read_file(path, 1000, &bytes, &size), expected);
    assert_null(bytes);
    assert_int_equal(size, 0);
    assert_non_null(strstr(fv_error_message(), path));
    assert_non_null(strstr(fv_error_message(), reason));
    fv_fail(FV_OK, "old");
    assert_int_equal(fv_map_file(path, &mapping), expected);
    assert_int_equal(mapping.size, 0);
    assert_non_null(strstr(fv_error_message(), reason));
    fv_unmap_file(&mapping);
}

static void test_read(void **state) {
    (void)state;
    const char *path = in_folder("a");
    put(path, "hello\0world", 11);
    char *bytes;
    size_t size;
    assert_int_equal(fv_read_file(path, 11, &bytes, &size), FV_OK);
    assert_int_equal(size, 11);
    assert_memory_equal(bytes, "hello\0world", 12); /* with the 0 after it */
    fv_free(bytes);

    assert_int_equal(fv_read_file(path, 10, &bytes, &size), FV_FORMAT);
    assert_null(bytes);
    assert_non_null(strstr(fv_error_message(), "11"));
    assert_non_null(strstr(fv_error_message(), "10"));

    put(path, "", 0);
    assert_int_equal(fv_read_file(path, 0, &bytes, &size), FV_OK);
    assert_int_equal(size, 0);
    assert_string_equal(bytes, "");
    fv_free(bytes);
}

static void test_map(void **state) {
    (void)state;
    const char *path = in_folder("a");
    char pattern[10000];
    for (size_t i = 0; i < sizeof pattern; i++) {
        pattern[i] = (char)(i * 7);
    }
    put(path, pattern, sizeof pattern);
    fv_mapping mapping;
    assert_int_equal(fv_map_file(path, &mapping), FV_OK);
    assert_int_equal(mapping.size, sizeof pattern);
    assert_memory_equal(mapping.bytes, pattern, sizeof pattern);
    fv_unmap_file(&mapping);
    assert_int_equal(mapping.size, 0);
    put(path, "", 0);
    assert_int_equal(fv_map_file(path, &mapping), FV_OK);
    assert_int_equal(mapping.size, 0);
    fv_unmap_file(&mapping);
    fv_unmap_file(&mapping);
}

static void test_only_files_are_read(void **state) {
    (void)state;
    assert_unreadable(in_folder("missing"), FV_IO, "No such file");
    assert_unreadable(folder, FV_IO, "is a folder");
    assert_unreadable("/dev/null", FV_IO, "device or pipe");
    assert_unreadable("/dev/zero", FV_IO, "device or pipe");
    const char *pipe = in_folder("pipe");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_unreadable(pipe, FV_IO, "device or pipe"); /* and does not wait for a writer */
    put(in_folder("a"), "a", 1);
    assert_unreadable(in_folder("a/b"), FV_IO, "Not a directory");
    assert_true(fv_is_file(in_folder("a")));
    assert_false(fv_is_folder(in_folder("a")));
    assert_true(fv_is_folder(folder));
    assert_false(fv_is_file(folder));
    assert_false(fv_is_file(pipe));
    assert_false(fv_is_file(in_folder("missing")));
    assert_false(fv_is_folder(in_folder("missing")));
}

static void test_write(void **state) {
    (void)state;
    const char *path = in_folder("model");
    fv_writer writer;
    for (int round = 0; round < 2; round++) { /* a new file, then one in its place */
        assert_int_equal(fv_writer_open(&writer, path), FV_OK);
        fv_write(&writer, round ? "newer" : "old", round ? 5 : 3);
        fv_write(&writer, "", 0);
        fv_write(&writer, "!", 1);
        assert_true(fv_is_file(path) == (round > 0)); /* not before commit */
        assert_int_equal(entries(), round + 1);
        assert_int_equal(fv_writer_commit(&writer), FV_OK);
        assert_contents(path, round ? "newer!" : "old!");
        assert_int_equal(entries(), 1);
    }
    struct stat info;
    mode_t mask = umask(0);
    umask(mask);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0666 & ~mask); /* as any new file */
}

static void test_write_in_working_folder(void **state) {
    (void)state;
    char before[4096];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(folder), 0);
    fv_writer writer;
    fv_status opened = fv_writer_open(&writer, "bare-name");
    fv_write(&writer, "x", 1);
    fv_status committed = fv_writer_commit(&writer);
    assert_int_equal(chdir(before), 0);
    assert_int_equal(opened, FV_OK);
    assert_int_equal(committed, FV_OK);
    assert_contents(in_folder("bare-name"), "x");
}

static void test_abort(void **state) {
    (void)state;
    const char *path = in_folder("model");
    put(path, "old", 3);
    fv_writer writer;
    assert_int_equal(fv_writer_open(&writer, path), FV_OK);
    fv_write(&writer, "half of the new", 15);
    fv_writer_abort(&writer);
    assert_contents(path, "old");
    assert_int_equal(entries(), 1);
}

/* Two writers of one file do not get into each other's way; the last to commit wins. */
static void test_two_writers(void **state) {
    (void)state;
    const char *path = in_folder("model");
    fv_writer first, second;
    assert_int_equal(fv_writer_open(&first, path), FV_OK);
    assert_int_equal(fv_writer_open(&second, path), FV_OK);
    fv_write(&first, "first", 5);
    fv_write(&second, "second", 6);
    assert_int_equal(fv_writer_commit(&second), FV_OK);
    assert_contents(path, "second");
    assert_int_equal(fv_writer_commit(&first), FV_OK);
    assert_contents(path, "first");
    assert_int_equal(entries(), 1);
}

/* A full disk, played by a limit on the size of files: 3 bytes fail when they are flushed, many
 * fail at once. */
static void test_full_disk(void **state) {
    (void)state;
    static char many[100000];
    const size_t sizes[] = {3, sizeof many};
    const char *path = in_folder("model");
    put(path, "old", 3);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    for (int i = 0; i < 2; i++) {
        struct rlimit limit = {.rlim_cur = 2, .rlim_max = before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        fv_writer writer;
        fv_status opened = fv_writer_open(&writer, path);
        fv_write(&writer, many, sizes[i]);
        fv_write(&writer, "more", 4);
        fv_status committed = fv_writer_commit(&writer);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(opened, FV_OK);
        assert_int_equal(committed, FV_IO);
        assert_non_null(strstr(fv_error_message(), path));
        assert_non_null(strstr(fv_error_message(), "File too large"));
        assert_contents(path, "old");
        assert_int_equal(entries(), 1);
    }
    signal(SIGXFSZ, handler);
}

static void assert_unwritable(const char *path, const char *reason) {
    fv_writer writer;
    assert_int_equal(fv_writer_open(&writer, path), FV_IO);
    assert_non_null(strstr(fv_error_message(), path));
    assert_non_null(strstr(fv_error_message(), reason));
    fv_write(&writer, "x", 1); /* a caller may check once, at the end */
    assert_int_equal(fv_writer_commit(&writer), FV_IO);
    assert_int_equal(fv_writer_open(&writer, path), FV_IO);
    fv_writer_abort(&writer);
}

static void test_unwritable(void **state) {
    (void)state;
    put(in_folder("file"), "old", 3);
    assert_unwritable(in_folder("missing/model"), "No such file");
    assert_unwritable(in_folder("file/model"), "Not a directory");
    assert_unwritable(folder, "is a folder");
    assert_unwritable("/dev/null", "device or pipe"); /* never replaced by a file */
    assert_unwritable("/dev/full", "device or pipe");
    assert_int_equal(entries(), 1);
}

/* A folder without write permission; root, who may write everywhere, becomes nobody for it. */
static void test_folder_without_permission(void **state) {
    (void)state;
    const char *path = in_folder("model");
    put(path, "old", 3);
    assert_int_equal(chmod(folder, 0555), 0);
    bool root = geteuid() == 0;
    if (root && seteuid(65534) != 0) {
        skip();
    }
    fv_writer writer;
    fv_status opened = fv_writer_open(&writer, path);
    fv_status made = fv_make_folder(in_folder("sub"));
    char message[1024];
    strcpy(message, fv_error_message());
    assert_true(!root || seteuid(0) == 0);
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(opened, FV_IO);
    assert_int_equal(made, FV_IO);
    assert_non_null(strstr(message, "Permission denied"));
    assert_contents(path, "old");
    assert_int_equal(entries(), 1);
}

static void test_failed_rename(void **state) {
    (void)state;
    const char *path = in_folder("model");
    fv_writer writer;
    assert_int_equal(fv_writer_open(&writer, path), FV_OK);
    fv_write(&writer, "x", 1);
    assert_int_equal(mkdir(path, 0777), 0); /* meanwhile somebody makes a folder of that name */
    assert_int_equal(fv_writer_commit(&writer), FV_IO);
    assert_true(fv_is_folder(path));
    assert_int_equal(entries(), 1);
}

static void test_make_folder(void **state) {
    (void)state;
    assert_int_equal(fv_make_folder(in_folder("a/b/c")), FV_OK);
    assert_true(fv_is_folder(in_folder("a/b/c")));
    assert_int_equal(fv_make_folder(in_folder("a/b/c")), FV_OK); /* it is there */
    assert_int_equal(fv_make_folder(in_folder("a//d/")), FV_OK);
    assert_true(fv_is_folder(in_folder("a/d")));
    assert_int_equal(fv_make_folder("/"), FV_OK);
    assert_int_equal(fv_make_folder("."), FV_OK);
    assert_int_equal(fv_make_folder(""), FV_INVALID);

    put(in_folder("file"), "old", 3);
    assert_int_equal(fv_make_folder(in_folder("file")), FV_IO);
    assert_non_null(strstr(fv_error_message(), "File exists"));
    assert_int_equal(fv_make_folder(in_folder("file/x")), FV_IO);
    assert_int_equal(fv_make_folder("/proc/fovea/x"), FV_IO);
    assert_contents(in_folder("file"), "old");
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_test_folder, remove_test_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_read),
        IN_FOLDER(test_map),
        IN_FOLDER(test_only_files_are_read),
        IN_FOLDER(test_write),
        IN_FOLDER(test_write_in_working_folder),
        IN_FOLDER(test_abort),
        IN_FOLDER(test_two_writers),
        IN_FOLDER(test_full_disk),
        IN_FOLDER(test_unwritable),
        IN_FOLDER(test_folder_without_permission),
        IN_FOLDER(test_failed_rename),
        IN_FOLDER(test_make_folder),
    };
    return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}

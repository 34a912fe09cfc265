#!/usr/bin/env python3
"""Shows that the checkers of the house find what they are there to find."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[3] / "tools"


def run(tool, *arguments):
    done = subprocess.run([sys.executable, TOOLS / tool, *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout


class Tree(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)

    def write(self, files):
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


class Layers(Tree):
    RULES = "0 base\n1 simd\n1 kernels : simd\n6 api\n7 apps/tool\nkernels only: stdint.h\nkernels/s.cpp only: stdlib.h\n"
    GOOD = {
        "layers.txt": RULES,
        "include/sterna/sterna.h": "",
        "src/base/a.h": "#include <vector>\n",
        "src/simd/v.h": "",
        "src/kernels/k.cpp": '#include <stdint.h>\n#include "simd/v.h"\n#include "base/a.h"\n',
        "src/kernels/s.cpp": "#include <stdlib.h>\n",
        "src/api/c.cpp": '#include "sterna/sterna.h"\n',
        "apps/tool/main.cpp": '#include "local.h"\n#include "base/a.h"\n',
        "apps/tool/local.h": "",
    }

    def test_a_tree_that_keeps_the_rules(self):
        self.write(self.GOOD)
        self.assertEqual(run("check_layers.py", "--root", self.root), (0, "7 files, 0 breaches\n"))

    def test_breaches(self):
        for name, line, said in [
            ("src/base/b.h", '#include "kernels/k.h"', "of layer 1, base of layer 0"),
            ("src/simd/b.h", '#  include "kernels/k.h"', "of layer 1, simd of layer 1"),
            ("src/kernels/b.h", "#include <vector>", "<vector> is not among"),
            ("src/kernels/c.h", "#include <stdlib.h>", "<stdlib.h> is not among"),
            ("src/base/c.h", '#include "sterna/sterna.h"', "is the API"),
            ("src/stray/a.h", "", "not in layers.txt"),
            ("src/base/d.h", '#include "elsewhere/x.h"', "not in src/"),
        ]:
            with self.subTest(line):
                self.write({**self.GOOD, "src/kernels/k.h": "", name: line + "\n"})
                status, out = run("check_layers.py", "--root", self.root)
                self.assertEqual((status, out.count("\n")), (1, 2), out)
                self.assertIn(said, out)
                (self.root / name).unlink()

    def test_an_empty_tree_is_a_failure(self):
        self.write({"layers.txt": self.RULES})
        self.assertEqual(run("check_layers.py", "--root", self.root)[0], 1)


class Size(Tree):
    @staticmethod
    def function(head, lines):
        return head + " {\n" + "    if (x) { y(\"}\"); }  // {\n" * (lines - 2) + "}\n"

    def check(self, text, name="src/a.cpp"):
        self.write({name: text})
        return run("size.py", "--check", "--root", self.root)

    def test_limits(self):
        self.assertEqual(self.check(self.function("void f(int x)", 119))[0], 0)
        status, out = self.check(self.function("void f(int x)", 120))
        self.assertEqual(status, 1)
        self.assertIn("src/a.cpp:1: a function of 120 lines, the limit is 120", out)

    def test_functions_in_scopes(self):
        body = "namespace n {\nclass C : public B {\npublic:\n    int a = 0;\n" + self.function("    C() : a_{1}, b_{2}", 130) + "};\n}\n"
        self.assertIn("src/a.cpp:5: a function of 130 lines", self.check(body)[1])
        two = "namespace n {\nstruct C {\n" + self.function("    void f() const", 70) + self.function("    int g()", 70) + "};\n}\n"
        self.assertEqual(self.check(two)[0], 0)

    def test_a_forward_pass_may_be_longer(self):
        self.assertEqual(self.check(self.function("Status forward_llama(int x)", 159))[0], 0)
        self.assertEqual(self.check(self.function("Status forward_llama(int x)", 160))[0], 1)

    def test_files(self):
        self.assertEqual(self.check("int x;\n" * 799)[0], 0)
        self.assertEqual(self.check("int x;\n" * 800)[0], 1)
        self.assertEqual(self.check("// Made by tools/t.py\n" + "int x;\n" * 800)[0], 0)


class Symbols(Tree):
    def check(self, text):
        self.write({"isa_x.cpp": text})
        made = self.root / "isa_x.o"
        subprocess.run(["c++", "-O0", "-c", self.root / "isa_x.cpp", "-o", made], check=True)
        return run("check_symbols.py", made)

    def test_one_table(self):
        self.assertEqual(self.check("static int f() { return 1; }\nextern int (*const table)();\nint (*const table)() = f;\n")[0], 0)

    def test_weak_and_extra_symbols(self):
        status, out = self.check("inline int f() { return 1; }\nextern int (*const table)();\nint (*const table)() = f;\n")
        self.assertEqual(status, 1)
        self.assertIn("weak symbols", out)
        self.assertEqual(self.check("int a() { return 1; }\nint b() { return 1; }\n")[0], 1)

    def test_no_objects_is_a_failure(self):
        self.assertEqual(run("check_symbols.py")[0], 1)


class Summary(Tree):
    LOG = """1/3 Testing: unit
[ RUN      ] A.a
[       OK ] A.a (0 ms)
[ RUN      ] A.b
x.cpp:3: Skipped
no data
[  SKIPPED ] A.b (0 ms)
Test Passed.
2/3 Testing: script
Test Passed.
3/3 Testing: bad
[ RUN      ] B.a
[  FAILED  ] B.a (0 ms)
[  FAILED  ] B.a
Test Failed.
"""

    def summary(self, text, *more):
        name = "dev/Testing/Temporary/LastTest.log"
        self.write({name: text})
        return run("test_summary.py", *more, self.root / name)

    def test_counts(self):
        status, out = self.summary(self.LOG)
        self.assertEqual(status, 1)
        self.assertTrue(out.endswith("skipped (no data): dev:A.b\n2 passed, 1 failed, 1 skipped\n"), out)

    def test_failed_parts_and_missing_logs_count(self):
        good = "1/1 Testing: script\nTest Passed.\n"
        self.assertEqual(self.summary(good)[0], 0)
        self.assertEqual(self.summary(good, "--failed-parts", "1")[0], 1)
        self.assertEqual(self.summary(good, self.root / "absent.log")[0], 1)


if __name__ == "__main__":
    unittest.main()

"""`llama_model_init_from_user`: every tensor that the original asks for, and the model of the file that they come from."""
import unittest
import numpy as np
import sides

TEXT = sides.heldout()[0][:200]
# Of the largest logit: the head is F32 instead of Q8_0; without types in the metadata so is everything.
NEAR = 0.02


class Made(unittest.TestCase):
    def near(self, logits):
        made, of_file = logits
        self.assertLess(np.abs(made - of_file).max(), NEAR * np.abs(of_file).max())

    def test_the_files_model(self):
        for name, path in sides.MODELS.items():
            with self.subTest(name):
                ours, original = sides.both("making:make", {"model": path, "text": TEXT})
                self.near(ours["logits"])
                asked = [tuple(map(str, a)) for a in ours["asked"]]
                self.assertEqual(len(asked), len(set(asked)))
                self.assertEqual([a for a in original["asked"] if tuple(map(str, a)) not in asked], [])

    def test_without_types(self):
        got = sides.run("ours", "making:make", {"model": sides.MODELS["llama"], "text": TEXT, "keys_only": True})
        self.near(got["logits"])
        self.assertEqual({ty for _, _, ty in got["asked"]}, {0})

    def test_wrong_calls(self):
        self.assertEqual(sides.run("ours", "making:refused", {"model": sides.MODELS["llama"]}), [None, None, None])

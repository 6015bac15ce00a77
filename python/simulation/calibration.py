"""x"""
RESPONSE = ((1.0,) * 8,) * 4
TAG_WEIGHTS = {"DeepFlav": ((0.0,) * 29,) * 2, "PNet": ((0.0,) * 29,) * 2}
TAG_CUTS = {"DeepFlav": (0.0, 1.0, 2.0), "PNet": (0.0, 1.0, 2.0)}
TAU_WEIGHTS = (0.0,) * 7
TAU_POINTS = (0.1, 0.2, 0.4, 0.6, 0.75, 0.85, 0.9, 0.95)

from runtime.open import *

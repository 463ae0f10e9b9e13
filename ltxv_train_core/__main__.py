import gc

from .cli import main

# What imports leave behind is no garbage: looking for some among a million objects costs a second
# while they come, and another when the interpreter ends.
gc.set_threshold(50_000)
code = main()
gc.freeze()
raise SystemExit(code)

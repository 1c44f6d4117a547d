"""`python -m tbrm_bench` is the same as `tbench`."""

from tbrm_bench.cli.app import main

if __name__ == "__main__":
    main()

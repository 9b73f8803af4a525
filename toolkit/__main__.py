"""`python -m udacimed_edge`: the command line without the script."""

from udacimed_edge.cli.main import main

if __name__ == "__main__":
    main()

"""Projects out of templates: ``catalog`` finds and reads them, ``plan`` decides, ``write`` acts.

Templates are real projects that run as they lie there (``templates/`` in a checkout, ``devserver/_templates`` when
installed). A project is one of them with its sentinel names replaced, and with what was not asked for cut out.
"""
